// Records in a broker's segment files that no client is shown any more: what was deleted by offset lies there until its
// whole segment goes. Written from the description of the format (record, magic 2; kafka.apache.org, "Record").
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CommittedRecord } from './evidence.ts'
import type { Place } from './segments.ts'

/** From the start of a batch, big-endian. */
const layout = {
  batchLength: 8,
  attributes: 21,
  firstTimestamp: 27,
  maxTimestamp: 35,
  records: 57,
  end: 61,
} as const
const UNCOUNTED_BYTES = 12
const CODEC = 0x07
const APPEND_TIME = 0x08
const TRANSACTIONAL = 0x10

/** Uncompressed records below an offset that were written outside of transactions, by offset. */
export function readRecords(
  dataDir: string,
  { topicPrefix, topic, partition, below }: Place & { topicPrefix: string; below: number },
): CommittedRecord[] {
  const dir = join(dataDir, `${topicPrefix}${topic}-${partition}`)
  const segments = readdirSync(dir).filter((file) => file.endsWith('.log'))
  return segments
    .toSorted()
    .flatMap((file) => [...recordsOf(readFileSync(join(dir, file)), { topic, partition })])
    .filter(({ offset }) => offset < below)
}

function* recordsOf(bytes: Buffer, place: Place): Generator<CommittedRecord> {
  for (let at = 0; at + layout.end <= bytes.length;) {
    const size = bytes.readInt32BE(at + layout.batchLength) + UNCOUNTED_BYTES
    if (size < layout.end || at + size > bytes.length) return
    const batch = bytes.subarray(at, at + size)
    const attributes = batch.readInt16BE(layout.attributes)
    if ((attributes & (CODEC | TRANSACTIONAL)) === 0) yield* recordsIn(batch, place)
    at += size
  }
}

function* recordsIn(batch: Buffer, { topic, partition }: Place): Generator<CommittedRecord> {
  const baseOffset = Number(batch.readBigInt64BE(0))
  const firstMs = Number(batch.readBigInt64BE(layout.firstTimestamp))
  const isAppended = (batch.readInt16BE(layout.attributes) & APPEND_TIME) !== 0
  const appendedMs = Number(batch.readBigInt64BE(layout.maxTimestamp))
  let at: number = layout.end
  const varint = (): number => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = batch.readUInt8(at)
      at += 1
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return Number((value >> 1n) ^ -(value & 1n))
    }
  }
  const taken = (): Buffer | null => {
    const length = varint()
    if (length < 0) return null
    at += length
    return batch.subarray(at - length, at)
  }
  for (let left = batch.readInt32BE(layout.records); left > 0; left -= 1) {
    varint() // length
    at += 1 // attributes
    const createdMs = firstMs + varint()
    const timestampMs = isAppended ? appendedMs : createdMs
    const offset = baseOffset + varint()
    const key = taken()?.toString() ?? null
    const value = taken()
    const headers = Object.create(null) as Record<string, string>
    for (let names = varint(); names > 0; names -= 1) {
      const name = taken()?.toString() ?? ''
      const said = taken()
      // The last of a name counts, also when it has no value.
      if (said === null) delete headers[name]
      else headers[name] = said.toString()
    }
    yield { topic, partition, offset, timestampMs, key, value, headers }
  }
}
