// H1: whatever a record is, it is taken in or set aside, once, and what comes behind it is read.
import type { Evidence, Position } from '../evidence.ts'
import { ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { deadLetters, isLost, latestCloses, placeOf, results, tryDecode } from './records.ts'

const INPUTS = ['images.v1', 'commands.v1']

export function setAside(evidence: Evidence): string[] {
  const { incoming } = evidence.circumstances
  if (!incoming) return []
  const letters = Map.groupBy(
    deadLetters(evidence).flatMap(({ message: { origin } }) => (origin ? [placeOf(origin)] : [])),
    (place) => place,
  )
  const countOf = (place: Position): number => letters.get(placeOf(place))?.length ?? 0
  const inputs = ({ topic }: Position): boolean => INPUTS.includes(topic)
  return [
    ...incoming.bombs
      .filter((bomb) => !isLost(evidence, bomb) && countOf(bomb) !== 1)
      .map((bomb) => `${placeOf(bomb)} must not be opened, and has ${countOf(bomb)} dead letters`),
    ...incoming.odd
      .filter((odd) => inputs(odd) && !isLost(evidence, odd) && countOf(odd) > 1)
      .map((odd) => `${placeOf(odd)} is odd, and has ${countOf(odd)} dead letters`),
    ...notTakenIn(evidence, (place) => countOf(place) === 0),
    ...notPassed(evidence),
  ]
}

/** An odd image that nobody set aside was taken in: it has an end other than never having arrived. */
function notTakenIn(evidence: Evidence, isKept: (place: Position) => boolean): string[] {
  const odd = new Set(evidence.circumstances.incoming?.odd.map(placeOf))
  const worked = new Set([
    ...results(evidence).map(({ message }) => message.entity),
    ...deadLetters(evidence).map(({ message }) => message.entity),
  ])
  const holes = new Map(
    [...latestCloses(evidence).values()].flatMap((close) =>
      close.holes.map(({ entity, reason }) => [entity, reason] as const),
    ),
  )
  return evidence.committed.flatMap((record) => {
    const isAsked = record.topic === 'images.v1' && odd.has(placeOf(record)) && isKept(record)
    if (!isAsked || isLost(evidence, record)) return []
    // What its header calls it does not count: it was taken for an image.
    const image = tryDecode(ImageAcquiredSchema, { ...record, headers: {} })
    if (!image?.identity) return [`${placeOf(record)} is no image, and was never set aside`]
    const { experiment, plate, acquisition, well, timePoint, site, z, channel } = image.identity
    const above = `${experiment}/${plate}/${acquisition}/${well}/t${timePoint}/s${site}`
    const entity = `${above}/z${z}/${channel}`
    if (worked.has(entity) && holes.get(entity) !== 'NEVER_ARRIVED') return []
    return [`${placeOf(record)} is odd: it was neither taken in as ${entity} nor set aside`]
  })
}

/** The reader of spans.v1 stands behind every odd record of it. */
function notPassed(evidence: Evidence): string[] {
  const { spansRead, odd = [] } = evidence.circumstances.incoming ?? {}
  if (!spansRead) return []
  const next = new Map(spansRead.map(({ partition, offset }) => [partition, offset]))
  return odd
    .filter(
      ({ topic, partition, offset }) =>
        topic === 'spans.v1' && offset >= (next.get(partition) ?? 0),
    )
    .map(
      (one) =>
        `${placeOf(one)} is odd: the reader of spans stands at ${next.get(one.partition) ?? 0}`,
    )
}
