// Writes the simplest TIFF there is: one plane of 16-bit grey, uncompressed, its directory at the end, where a
// camera's software puts it. So a file cut short has lost its directory.

const SHORT = 3
const LONG = 4
const HEADER_BYTES = 8
const ENTRY_BYTES = 12

/** Little-endian TIFF of a plane given row by row. Throws when the pixels do not fill it. */
export function encodeTiff(pixels: Uint16Array, widthPx: number, heightPx: number): Buffer {
  if (pixels.length !== widthPx * heightPx)
    throw new Error(`${pixels.length} pixels do not fill ${widthPx} × ${heightPx}`)
  const dataBytes = pixels.length * 2
  const directoryAt = HEADER_BYTES + dataBytes
  const entries: readonly (readonly [tag: number, type: number, value: number])[] = [
    [256, LONG, widthPx],
    [257, LONG, heightPx],
    [258, SHORT, 16], // bits per sample
    [259, SHORT, 1], // no compression
    [262, SHORT, 1], // black is zero
    [273, LONG, HEADER_BYTES], // the strip begins here
    [277, SHORT, 1], // samples per pixel
    [278, LONG, heightPx], // one strip
    [279, LONG, dataBytes],
    [339, SHORT, 1], // unsigned
  ]
  const file = Buffer.alloc(directoryAt + 2 + entries.length * ENTRY_BYTES + 4)
  file.write('II', 0, 'latin1')
  file.writeUInt16LE(42, 2)
  file.writeUInt32LE(directoryAt, 4)
  for (const [i, value] of pixels.entries()) file.writeUInt16LE(value, HEADER_BYTES + i * 2)
  file.writeUInt16LE(entries.length, directoryAt)
  for (const [i, [tag, type, value]] of entries.entries()) {
    const at = directoryAt + 2 + i * ENTRY_BYTES
    file.writeUInt16LE(tag, at)
    file.writeUInt16LE(type, at + 2)
    file.writeUInt32LE(1, at + 4)
    file.writeUInt32LE(value, at + 8) // a short sits in the first two bytes
  }
  return file
}
