// Pixel offsets: the grey level that stands for no light, 32768 where signed pixels are stored as unsigned ones.

/** For every channel, or by channel name or stain as the source writes it. */
export type PixelOffsets = {
  readonly every: number | undefined
  readonly byChannel: ReadonlyMap<string, number>
}

const offsetMax = 65_535

/** A grey level from 0 to 65535, "32768.0" too (tables written by pandas); undefined: something else. */
export function pixelOffsetOf(text: string): number | undefined {
  const offset = /^[0-9]{1,5}(?:\.0{1,9})?$/.test(text) ? Number(text) : Number.NaN
  return offset <= offsetMax ? offset : undefined
}

/** Reads "32768", or "w1=32768,w2=0". Throws on anything else, saying which part is wrong. */
export function parsePixelOffsets(text: string): PixelOffsets {
  const every = pixelOffsetOf(text.trim())
  if (every !== undefined) return { every, byChannel: new Map() }
  const byChannel = new Map<string, number>()
  for (const part of text.split(',')) {
    const at = part.lastIndexOf('=')
    const name = part.slice(0, Math.max(at, 0)).trim()
    const offset = pixelOffsetOf(part.slice(at + 1).trim())
    if (name === '' || offset === undefined)
      throw new Error(
        `--pixel-offset: "${part.trim()}" is neither a grey level from 0 to ${offsetMax} nor CHANNEL=LEVEL`,
      )
    byChannel.set(name, offset)
  }
  return { every: undefined, byChannel }
}
