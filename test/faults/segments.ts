// Headers of record batches, from a broker's segment files: who wrote which offsets. Written from the description of
// the format (record batch, magic 2; kafka.apache.org, "Record Batch") and of nothing else, records are not read.
import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Batch } from './evidence.ts'

/** From baseOffset to the number of records, big-endian; then the first record, of which a marker's key is read. */
const layout = {
  baseOffset: 0,
  batchLength: 8,
  magic: 16,
  attributes: 21,
  lastOffsetDelta: 23,
  maxTimestamp: 35,
  producerId: 43,
  epoch: 51,
  baseSequence: 53,
  records: 57,
  end: 61,
} as const
/** baseOffset and batchLength are not counted in batchLength. */
const UNCOUNTED_BYTES = 12
const TRANSACTIONAL = 0x10
const CONTROL = 0x20
/** A marker is one short record; its key begins within this. */
const MARKER_BYTES = 32

/** All batches of the topics with a prefix below a broker's data directory, by offset within a partition. */
export function readSegments(dataDir: string, topicPrefix: string): Batch[] {
  return readdirSync(dataDir)
    .filter((name) => name.startsWith(topicPrefix))
    .toSorted()
    .flatMap((name) => {
      // <topic>-<partition>; a deleted one is <topic>-<partition>.<id>-delete.
      const match = /^(.+)-(\d+)$/.exec(name)
      if (!match) return []
      const place = {
        topic: (match[1] ?? '').slice(topicPrefix.length),
        partition: Number(match[2]),
      }
      const dir = join(dataDir, name)
      const segments = readdirSync(dir).filter((file) => file.endsWith('.log'))
      // Named by their first offset, in 20 digits.
      return segments.toSorted().flatMap((file) => readSegment(join(dir, file), place))
    })
}

export type Place = { readonly topic: string; readonly partition: number }

/** Ends without a word at a truncated batch, and at the zeros of a file made longer than its content. */
export function readSegment(path: string, { topic, partition }: Place): Batch[] {
  const batches: Batch[] = []
  const { size } = statSync(path)
  const file = openSync(path, 'r')
  const head = Buffer.alloc(layout.end + MARKER_BYTES)
  try {
    for (let at = 0; at + layout.end <= size;) {
      const read = readSync(file, head, 0, head.length, at)
      const sizeBytes = head.readInt32BE(layout.batchLength) + UNCOUNTED_BYTES
      if (sizeBytes < layout.end || at + sizeBytes > size) break
      const magic = head.readInt8(layout.magic)
      if (magic !== 2) throw new Error(`${path} has magic ${magic} at byte ${at}; only 2 is known`)
      batches.push({ topic, partition, sizeBytes, ...parse(head.subarray(0, read)) })
      at += sizeBytes
    }
  } finally {
    closeSync(file)
  }
  return batches
}

function parse(head: Buffer): Omit<Batch, 'topic' | 'partition' | 'sizeBytes'> {
  const attributes = head.readInt16BE(layout.attributes)
  const baseOffset = Number(head.readBigInt64BE(layout.baseOffset))
  return {
    baseOffset,
    lastOffset: baseOffset + head.readInt32BE(layout.lastOffsetDelta),
    producerId: Number(head.readBigInt64BE(layout.producerId)),
    epoch: head.readInt16BE(layout.epoch),
    baseSequence: head.readInt32BE(layout.baseSequence),
    isTransactional: (attributes & TRANSACTIONAL) !== 0,
    ...((attributes & CONTROL) === 0 ? {} : { control: controlType(head) }),
    records: head.readInt32BE(layout.records),
    timestampMs: Number(head.readBigInt64BE(layout.maxTimestamp)),
  }
}

/** A marker's key is version (2 bytes) and type (2 bytes: 0 abort, 1 commit). */
function controlType(head: Buffer): NonNullable<Batch['control']> {
  let at: number = layout.end
  const skipVarint = (): void => {
    while ((head.readUInt8(at) & 0x80) !== 0) at += 1
    at += 1
  }
  skipVarint() // length
  at += 1 // attributes
  skipVarint() // timestamp delta
  skipVarint() // offset delta
  skipVarint() // key length
  const type = head.readInt16BE(at + 2)
  return type === 0 ? 'abort' : type === 1 ? 'commit' : 'other'
}
