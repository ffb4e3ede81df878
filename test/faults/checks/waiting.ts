// I10: no close names as never arrived what was waiting in the topic when its deadline fell due.
import { durationMs } from '@bufbuild/protobuf/wkt'
import { ClosedBy, type LevelClosed } from '#proto/wellspring/record/v1/output_pb.ts'
import type { Evidence } from '../evidence.ts'
import { once, planned, plateOf } from './names.ts'
import { closes, images, placeOf } from './records.ts'
import { flushes, type Flush } from './outputs.ts'

/** An announcement is in the topic at the latest so long after its time stamp, unless the run says otherwise. */
const ANNOUNCE_MS_MAX = 2_000

export function waitingData(evidence: Evidence): string[] {
  const announced = Map.groupBy(images(evidence), ({ entity }) => plateOf(entity))
  const readBefore = readBeforeClose(evidence)
  return closes(evidence).flatMap(({ record, message: close }) => {
    // The operator's word does not wait for data.
    if (close.closedBy === ClosedBy.OPERATOR) return []
    const holes = close.holes.filter(({ reason }) => reason === 'NEVER_ARRIVED')
    if (holes.length === 0) return []
    const below = (announced.get(plateOf(close.entity)) ?? []).filter(({ entity }) =>
      entity.startsWith(`${close.entity}/`),
    )
    const next = readBefore.get(placeOf(record)) ?? 0
    const dueMs = evidence.circumstances.areClocksStepped
      ? 0
      : dueAtTheEarliest(evidence, close, [
          firstCommandMs(evidence).get(close.entity.split('/').slice(0, 2).join('/')) ?? 0,
          ...below.filter((one) => one.record.offset < next).map((one) => one.record.timestampMs),
        ])
    const slackMs = evidence.circumstances.announceMsMax ?? ANNOUNCE_MS_MAX
    return holes.flatMap((hole) =>
      below
        .filter(({ entity }) => entity === hole.entity || entity.startsWith(`${hole.entity}/`))
        .flatMap((image) => {
          const what = `${placeOf(record)}: ${close.entity} closed without ${image.entity}`
          if (image.record.offset < next) return [`${what}, which had been read before`]
          return image.record.timestampMs + slackMs < dueMs
            ? [`${what}, which waited in the topic when the deadline fell due`]
            : []
        }),
    )
  })
}

/** Next offset of images.v1 before the flush that carries a close, by the close's place. */
function readBeforeClose(evidence: Evidence): ReadonlyMap<string, number> {
  const next = new Map<string, number>()
  for (const flushesOfTask of Map.groupBy(flushes(evidence), ({ task }) => task).values()) {
    let before: Flush | undefined
    for (const flush of flushesOfTask.toSorted((a, b) => a.offset - b.offset)) {
      const at = before?.checkpoint.next.find(({ topic }) => topic === 'images.v1')?.next ?? 0
      for (const record of flush.outputs)
        if (record.topic === 'results.v1') next.set(placeOf(record), at)
      before = flush
    }
  }
  return next
}

/** Quiet time counts from the last arrival that was certainly read; for a plate without any, from its plan. */
function dueAtTheEarliest(
  evidence: Evidence,
  { entity }: LevelClosed,
  arrivalsMs: readonly number[],
): number {
  const policy = planned(evidence).get(entity)?.plan.completeness
  if (!policy?.quorumAfter || !policy.deadline) return 0
  return (
    Math.max(...arrivalsMs) + Math.min(durationMs(policy.quorumAfter), durationMs(policy.deadline))
  )
}

/** By key of the record: a plate's first command is its plan. */
const firstCommandMs = once((evidence): ReadonlyMap<string, number> => {
  const first = new Map<string, number>()
  for (const { topic, key, timestampMs } of evidence.committed)
    if (topic === 'commands.v1' && key !== null && !first.has(key)) first.set(key, timestampMs)
  return first
})
