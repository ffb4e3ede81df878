// Plates of the largest size that the contracts admit, and images that lie in a folder of their own.
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { create, toBinary } from '@bufbuild/protobuf'
import { durationFromMs } from '@bufbuild/protobuf/wkt'
import { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { PlannedWellSchema, type PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { CommandSchema, ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { hex, sha256 } from '../../../coordinator/core/keys.ts'
import { wellAt } from '@wellspring/lab/wells.ts'
import type { OutgoingRecord } from '@wellspring/kafka/client.ts'
import { planOf, planRecord } from '../../e2e/stage.ts'
import type { Ground } from './ground.ts'

const largest = {
  zPlanes: 12,
  channels: 32,
  uriChars: 2_048,
  rows: 32,
  columns: 48,
  treatmentChars: 256,
} as const
const limits = {
  /** Of the largest plan so many images come; the rest never does. */
  imagesOfPlan: 8,
  quietMs: 4_000,
  pathChars: 160,
  redriveMs: 1_000,
} as const

/** Calls for a plate whose name begins so fail at every attempt, with the longest message. */
export const FAILS_AT_LENGTH = 'FatTries'

export const plateKeyOf = ({ experiment, plate, acquisition }: PlatePlan): string =>
  `${experiment}/${plate}/${acquisition}`

/** A site of 384 images twice, done and failing, and a plan of 1,536 wells. */
export async function sendLargest(n: number, { announce, notes }: Ground): Promise<boolean> {
  const uriOf = (name: string): string => `file:///images/${name}.tif`.padEnd(largest.uriChars, 'x')
  const fat = siteOf(`FatSite${n}`)
  const failing = siteOf(`${FAILS_AT_LENGTH}${n}`)
  const wide = widePlan(n)
  for (const plan of [fat, failing, wide]) notes.plates.add(plateKeyOf(plan))
  await announce([planRecord(wide), ...imagesOf(wide, uriOf).slice(0, limits.imagesOfPlan)])
  for (const plan of [fat, failing]) await announce([planRecord(plan), ...imagesOf(plan, uriOf)])
  return true
}

/** The folder is away while its images are announced; once it is back, what was set aside is tried again. */
export async function moveShareAway(
  n: number,
  { announce, notes, shareDir }: Ground,
  forMs: number,
): Promise<boolean> {
  const plan = siteOf(`Share${n}`)
  notes.plates.add(plateKeyOf(plan))
  const folder = join(shareDir, plan.plate)
  const fileOf = (name: string): string =>
    join(folder, `${name.replaceAll('/', '_').padEnd(limits.pathChars, 'x')}.tif`)
  mkdirSync(folder, { recursive: true })
  for (const name of namesOf(plan)) writeFileSync(fileOf(name), ' ')
  const images = imagesOf(plan, (name) => pathToFileURL(fileOf(name)).href)
  const soon = images.length / 4
  await announce([planRecord(plan), ...images.slice(0, soon)])
  renameSync(folder, `${folder}.away`)
  await announce(images.slice(soon))
  await sleep(forMs)
  renameSync(`${folder}.away`, folder)
  await sleep(limits.redriveMs)
  await announce([redriveOf(plan)])
  return true
}

function siteOf(plate: string): PlatePlan {
  const { channels, zPlanes } = largest
  const plan = planOf(plate, { wells: 1, sites: 1, channels })
  plan.zPlanes = Array.from({ length: zPlanes }, (_, z) => z)
  return plan
}

/** Its treatments are of one byte a character, or of two. */
function widePlan(n: number): PlatePlan {
  const { rows, columns, treatmentChars } = largest
  const plan = planOf(`FatPlan${n}`, { wells: 0, sites: 1, channels: 1 })
  const filling = n % 2 === 0 ? 'x' : 'µ'
  for (let row = 1; row <= rows; row += 1)
    for (let column = 1; column <= columns; column += 1) {
      const well = wellAt(row, column)
      const treatment = `${well} `.padEnd(treatmentChars, filling)
      plan.wells.push(create(PlannedWellSchema, { well, treatment }))
    }
  plan.completeness = {
    $typeName: 'wellspring.lab.v1.CompletenessPolicy',
    quorum: 0.5,
    quorumAfter: durationFromMs(limits.quietMs),
    deadline: durationFromMs(limits.quietMs),
  }
  return plan
}

type Place = { readonly well: string; readonly z: number; readonly channel: string }

function* placesOf(plan: PlatePlan): Generator<Place> {
  for (const { well } of plan.wells)
    for (const z of plan.zPlanes)
      for (const { name: channel } of plan.channels) yield { well, z, channel }
}

const nameOf = (plan: PlatePlan, { well, z, channel }: Place): string =>
  `${plateKeyOf(plan)}/${well}/t0/s1/z${z}/${channel}`

const namesOf = (plan: PlatePlan): string[] =>
  [...placesOf(plan)].map((place) => nameOf(plan, place))

function imagesOf(plan: PlatePlan, uriOf: (name: string) => string): OutgoingRecord[] {
  const { experiment, plate, acquisition } = plan
  return [...placesOf(plan)].map((place): OutgoingRecord => {
    const name = nameOf(plan, place)
    const image = create(ImageAcquiredSchema, {
      identity: { experiment, plate, acquisition, timePoint: 0, site: 1, ...place },
      artifact: { uri: uriOf(name), sizeBytes: 1, sha256: hex(sha256(Buffer.from(name))) },
      channel: { name: place.channel, kind: ChannelKind.FLUORESCENCE },
    })
    return {
      topic: 'images.v1',
      key: `${experiment}/${plate}`,
      value: toBinary(ImageAcquiredSchema, image),
      headers: { 'wellspring-type': ImageAcquiredSchema.typeName },
    }
  })
}

function redriveOf(plan: PlatePlan): OutgoingRecord {
  const redrive = create(CommandSchema, {
    author: 'faults',
    reason: 'the share is back',
    action: { case: 'redrive', value: { entity: plateKeyOf(plan) } },
  })
  return {
    topic: 'commands.v1',
    key: `${plan.experiment}/${plan.plate}`,
    value: toBinary(CommandSchema, redrive),
    headers: { 'wellspring-type': CommandSchema.typeName },
  }
}
