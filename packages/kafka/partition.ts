// Which partition a key belongs to: the same for every producer, whatever its language.

/** Partition of a Kafka key among `tasks` partitions, as the Java client's default partitioner has it. */
export function taskOf(key: string, tasks: number): number {
  return (murmur2(Buffer.from(key, 'utf8')) & 0x7fffffff) % tasks
}

/** murmur2 of org.apache.kafka.common.utils.Utils, seed 0x9747b28c. */
export function murmur2(data: Uint8Array): number {
  const m = 0x5bd1e995
  const { length } = data
  const view = new DataView(data.buffer, data.byteOffset, length)
  let h = 0x9747b28c ^ length
  let at = 0
  for (; at + 4 <= length; at += 4) {
    let k = Math.imul(view.getInt32(at, true), m)
    k = Math.imul(k ^ (k >>> 24), m)
    h = Math.imul(h, m) ^ k
  }
  const rest = length - at
  if (rest >= 3) h ^= view.getUint8(at + 2) << 16
  if (rest >= 2) h ^= view.getUint8(at + 1) << 8
  if (rest >= 1) h = Math.imul(h ^ view.getUint8(at), m)
  h = Math.imul(h ^ (h >>> 13), m)
  return h ^ (h >>> 15)
}
