// H5: input that was deleted before it was read is a loss that is counted and named, and nobody goes on without a
// person's word.
import { fromBinary } from '@bufbuild/protobuf'
import { PlateStateSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import { CommandSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import type { CommittedRecord, Evidence } from '../evidence.ts'
import { once, planned, plateOf } from './names.ts'
import {
  announcementsLost,
  deadLetters,
  entryOf,
  images,
  journals,
  losses,
  placeOf,
  tryDecode,
  type Lost,
} from './records.ts'

/** By the clocks of two processes on one machine. */
const SLACK_MS = 1_000

export function lossesNamed(evidence: Evidence): string[] {
  const lost = losses(evidence)
  return [
    ...lost.flatMap((one) => [...notTold(evidence, one), ...notAccepted(evidence, one)]),
    ...invented(evidence, lost),
    ...plates(evidence),
  ]
}

const nameOf = ({ topic, partition, from, to }: Lost): string =>
  `${topic}/${partition} ${from} to ${to}`

/** As dead letters tell it, by name. */
const told = once((evidence) =>
  Map.groupBy(
    deadLetters(evidence).flatMap(({ record, message: { loss } }) =>
      loss === undefined ? [] : [{ record, loss, name: nameOf(loss) }],
    ),
    ({ name }) => name,
  ),
)

function notTold(evidence: Evidence, lost: Lost): string[] {
  const name = nameOf(lost)
  const letters = told(evidence).get(name) ?? []
  if (letters.length !== 1) return [`${name} was lost, and is told of ${letters.length} times`]
  return letters.flatMap(({ record, loss }) => [
    ...(loss.records === lost.to - lost.from
      ? []
      : [`${placeOf(record)}: ${name} are ${lost.to - lost.from} records, not ${loss.records}`]),
    ...(loss.acceptedBy !== '' && loss.acceptedAt && loss.noticedAt
      ? []
      : [`${placeOf(record)}: ${name} was accepted by nobody, or at no time`]),
  ])
}

function invented(evidence: Evidence, lost: readonly Lost[]): string[] {
  const names = new Set(lost.map(nameOf))
  return [...told(evidence)].flatMap(([name, letters]) =>
    names.has(name) ? [] : letters.map(({ record }) => `${placeOf(record)}: ${name} is not lost`),
  )
}

/** The task went on behind the loss only after a command that names exactly it. */
function notAccepted(evidence: Evidence, lost: Lost): string[] {
  const wentOn = journals(evidence)
    .get(lost.partition)
    ?.find((record) => {
      const entry = entryOf(record)
      const next = entry.kind === 'checkpoint' ? entry.message.next : []
      return next.some((one) => one.topic === lost.topic && one.next >= lost.to)
    })
  if (!wentOn) return []
  const word = acceptances(evidence).find(({ name }) => name === nameOf(lost))
  const { areClocksStepped } = evidence.circumstances
  if (!word) return [`${placeOf(wentOn)} goes on behind ${nameOf(lost)}, which nobody accepted`]
  return !areClocksStepped && word.record.timestampMs > wentOn.timestampMs + SLACK_MS
    ? [`${placeOf(wentOn)} goes on behind ${nameOf(lost)} before that was accepted`]
    : []
}

type Acceptance = { readonly record: CommittedRecord; readonly name: string }

const acceptances = once((evidence): readonly Acceptance[] =>
  evidence.committed.flatMap((record) => {
    const command = record.topic === 'commands.v1' ? tryDecode(CommandSchema, record) : undefined
    if (command?.action.case !== 'acceptLoss') return []
    return [{ record, name: nameOf(command.action.value) }]
  }),
)

/** A plate with an image that was lost and never announced again says so. */
function plates(evidence: Evidence): string[] {
  const arrived = new Set(images(evidence).map(({ entity }) => entity))
  const touched = new Map<string, string>()
  for (const { entity } of announcementsLost(evidence))
    if (!arrived.has(entity) && planned(evidence).has(entity)) touched.set(plateOf(entity), entity)
  const state = new Map(
    [...journals(evidence).values()].flat().map(({ key, value }) => [key ?? '', value]),
  )
  return [...touched].flatMap(([plate, entity]) => {
    const value = state.get(plate)
    const isMarked = value && fromBinary(PlateStateSchema, value).inputLoss !== undefined
    return isMarked ? [] : [`${plate} lacks ${entity}, which was lost, and does not say so`]
  })
}
