// Encoders of TIFF 6.0 that no library here has: LZW (section 13) and PackBits (section 9).

const clearCode = 256
const endCode = 257
const codesMax = 4094

/** LZW with codes of 9 to 12 bits, most significant bit first, switching one code early as TIFF does. */
export function encodeLzw(raw: Uint8Array): Buffer {
  const out: number[] = []
  let [hold, held] = [0, 0]
  const put = (code: number, bits: number): void => {
    hold = (hold << bits) | code
    held += bits
    while (held >= 8) {
      out.push((hold >> (held - 8)) & 255)
      held -= 8
      hold &= (1 << held) - 1
    }
  }
  let table = new Map<number, number>()
  let [next, bits] = [258, 9]
  put(clearCode, bits)
  let prefix = -1
  for (const byte of raw) {
    if (prefix < 0) {
      prefix = byte
      continue
    }
    const key = prefix * 256 + byte
    const known = table.get(key)
    if (known !== undefined) {
      prefix = known
      continue
    }
    put(prefix, bits)
    table.set(key, next++)
    if (next > codesMax) {
      put(clearCode, bits)
      table = new Map()
      ;[next, bits] = [258, 9]
    } else bits = widthOf(next)
    prefix = byte
  }
  if (prefix >= 0) {
    put(prefix, bits)
    next++
    bits = widthOf(next)
  }
  put(endCode, bits)
  if (held > 0) out.push((hold << (8 - held)) & 255)
  return Buffer.from(out)
}

/** Bits that the next code has, when `next` codes are taken. */
function widthOf(next: number): number {
  if (next <= 511) return 9
  return next <= 1023 ? 10 : next <= 2047 ? 11 : 12
}

/** Runs of three and more are packed, everything else is copied. */
export function encodePackBits(raw: Uint8Array): Buffer {
  const out: number[] = []
  for (let at = 0; at < raw.length;) {
    const run = runAt(raw, at)
    if (run >= 3) {
      out.push(257 - run, raw[at] ?? 0)
      at += run
      continue
    }
    const start = at
    while (at < raw.length && at - start < 128 && runAt(raw, at) < 3) at++
    out.push(at - start - 1, ...raw.subarray(start, at))
  }
  return Buffer.from(out)
}

function runAt(raw: Uint8Array, at: number): number {
  let run = 1
  while (run < 128 && at + run < raw.length && raw[at + run] === raw[at]) run++
  return run
}
