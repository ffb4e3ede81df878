// Protobuf written by hand, as no encoder would.

/** A length-delimited field. */
export function field(number: number, content: Buffer): Buffer {
  return Buffer.concat([head(number, content.length), content])
}

/** A resource's attribute whose value is a list in a list, and so on (opentelemetry/proto/common/v1). */
export function nested(depth: number): Buffer {
  // From the inside out, lengths first: to copy the inner one at every step takes minutes.
  const heads: Buffer[] = []
  let length = 0
  for (let at = 0; at < depth; at += 1)
    for (const number of [1, 5]) {
      const own = head(number, length)
      heads.push(own)
      length += own.length
    }
  const value = Buffer.concat(heads.toReversed())
  const attribute = Buffer.concat([field(1, Buffer.from('deep')), field(2, value)])
  return field(1, field(1, field(1, attribute)))
}

function head(number: number, length: number): Buffer {
  return Buffer.concat([unsigned(number * 8 + 2), unsigned(length)])
}

function unsigned(value: number): Buffer {
  const bytes: number[] = []
  let left = value
  while (left >= 0x80) {
    bytes.push((left & 0x7f) | 0x80)
    left = Math.floor(left / 128)
  }
  return Buffer.of(...bytes, left)
}
