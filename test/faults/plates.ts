// What is imaged in a run, from its seed: many small plates, with images announced twice, announced again with other
// bytes, late, or never; and the records that nobody can take in.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { CommandSchema, ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { hex, sha256 } from '../../coordinator/core/keys.ts'
import { taskOf } from '@wellspring/kafka/partition.ts'
import type { OutgoingRecord } from '@wellspring/kafka/client.ts'
import { imageRecords, planOf, planRecord } from '../e2e/stage.ts'
import type { Poison } from './schedule.ts'
import { diceOf } from './dice.ts'

const limits = { openPlates: 12, tooLargeBytes: 900_000 } as const

/** Header of the records that are made to be refused, for the judges. */
export const POISON_HEADER = 'faults-poison'

/** The n-th plate of a seed: its plan first, then its images. */
export function plateRecords(seed: number, n: number): OutgoingRecord[] {
  const dice = diceOf(seed * 1_000_003 + n)
  const plan = planOf(`P${n}`, {
    wells: 2 + Math.floor(dice() * 3),
    sites: 1 + Math.floor(dice() * 2),
    channels: 2 + Math.floor(dice() * 2),
  })
  const images = imageRecords(plan)
  const neverSite = dice() < 0.04 ? Math.floor(dice() * plan.sites.length) : -1
  const late: OutgoingRecord[] = []
  const inTime = images.flatMap((image, at) => {
    const isNever = neverSite >= 0 && Math.floor(at / plan.channels.length) === neverSite
    if (isNever) return []
    if (dice() < 0.03) {
      late.push(image)
      return []
    }
    if (dice() < 0.05) late.push(image)
    if (dice() < 0.01) late.push(changed(image))
    return dice() < 0.03 ? [image, image] : [image]
  })
  return [planRecord(plan), ...inTime, ...late]
}

/** The seed's plates, a dozen at a time; after `isEnough` no new one is begun. */
export function* plateStream(seed: number, isEnough: () => boolean): Generator<OutgoingRecord> {
  const open: OutgoingRecord[][] = []
  for (let n = 1; ;) {
    while (open.length < limits.openPlates && !isEnough()) open.push(plateRecords(seed, n++))
    if (open.length === 0) return
    for (let at = open.length - 1; at >= 0; at -= 1) {
      const record = open[at]?.shift()
      if (record) yield record
      else open.splice(at, 1)
    }
  }
}

/** The same identity, other bytes: it must be refused. */
function changed(image: OutgoingRecord): OutgoingRecord {
  const announced = fromBinary(ImageAcquiredSchema, image.value ?? new Uint8Array())
  if (announced.artifact) announced.artifact.sha256 = hex(sha256(Buffer.from('changed')))
  const headers = { ...image.headers, [POISON_HEADER]: 'changed' }
  return { ...image, headers, value: toBinary(ImageAcquiredSchema, announced) }
}

export type RawRecord = {
  readonly topic: 'images.v1' | 'commands.v1'
  readonly partition: number
  readonly key: string | null
  readonly value: Buffer | null
  readonly headers: Readonly<Record<string, string>>
}

/** All that a client library can be made to send. */
export type SentPoison = Exclude<Poison, 'unknown-codec'>

/** A record that must end in a dead letter, on the partition of a plate that is worked on. */
export function poisonRecord(poison: SentPoison, n: number, tasks: number): RawRecord {
  const plan = planOf(`Poison${n}`, { wells: 1, sites: 1, channels: 1 })
  const good = imageRecords(plan)[0]
  const key = `${plan.experiment}/${plan.plate}`
  const partition = taskOf(key, tasks)
  const headers = { 'wellspring-type': ImageAcquiredSchema.typeName, [POISON_HEADER]: poison }
  const value = Buffer.from(good?.value ?? [])
  const image: RawRecord = { topic: 'images.v1', partition, key, value, headers }
  const command: RawRecord = {
    ...image,
    topic: 'commands.v1',
    headers: { ...headers, 'wellspring-type': CommandSchema.typeName },
  }
  switch (poison) {
    case 'undecodable':
      return { ...image, value: Buffer.from('this is no protobuf') }
    case 'undecodable-command':
      return { ...command, value: Buffer.from('this is no protobuf') }
    case 'wrong-type':
      return { ...image, headers: command.headers }
    case 'newer-version':
      return {
        ...image,
        headers: { ...headers, 'wellspring-type': 'wellspring.record.v2.ImageAcquired' },
      }
    case 'too-large':
      return { ...image, value: Buffer.alloc(limits.tooLargeBytes, 0xff) }
    case 'empty-key':
      return { ...image, key: '', value: Buffer.from('no protobuf either') }
    case 'no-key':
      return { ...image, key: null, value: Buffer.from('no protobuf either') }
    case 'tombstone':
      return { ...image, value: null }
    case 'tombstone-command':
      return { ...command, value: null }
    case 'wrong-partition':
      return { ...image, partition: (partition + 1) % tasks }
    case 'invalid-identity':
      return {
        ...image,
        value: Buffer.from(toBinary(ImageAcquiredSchema, create(ImageAcquiredSchema, {}))),
      }
  }
}
