// CRC-32C (Castagnoli, RFC 3720 appendix B.4) by slicing-by-8: eight tables, eight bytes a round. kafkajs takes one
// byte a round; zlib's crc32 is of another polynomial.

const POLYNOMIAL = 0x82f63b78 // 0x1edc6f41 reflected
const SLICES = 8

/** SLICES tables of 256 entries, one after another. */
const tables = new Int32Array(SLICES * 256)
for (let byte = 0; byte < 256; byte += 1) {
  let crc = byte
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1
  tables[byte] = crc
}
for (let at = 256; at < tables.length; at += 1)
  tables[at] = (entry(at - 256) >>> 8) ^ entry(entry(at - 256) & 0xff)

function entry(at: number): number {
  return tables[at] as number
}

/** Unsigned checksum of bytes. */
export function crc32c(bytes: Buffer): number {
  const { length } = bytes
  const end = length - (length % SLICES)
  let crc = -1
  let at = 0
  for (; at < end; at += SLICES) {
    const low = crc ^ bytes.readInt32LE(at)
    const high = bytes.readInt32LE(at + 4)
    crc =
      entry(1_792 + (low & 0xff)) ^
      entry(1_536 + ((low >>> 8) & 0xff)) ^
      entry(1_280 + ((low >>> 16) & 0xff)) ^
      entry(1_024 + (low >>> 24)) ^
      entry(768 + (high & 0xff)) ^
      entry(512 + ((high >>> 8) & 0xff)) ^
      entry(256 + ((high >>> 16) & 0xff)) ^
      entry(high >>> 24)
  }
  for (; at < length; at += 1) crc = (crc >>> 8) ^ entry((crc ^ (bytes[at] as number)) & 0xff)
  return ~crc >>> 0
}
