// What may outgrow a record goes on in others beside it. Each is the same message with some of the items and nothing
// else: the encoding of two messages one after the other is that of their merge, so all of them in order are the whole.
import { create, toBinary, type DescMessage, type MessageShape } from '@bufbuild/protobuf'
import { SiteStateSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import { PlatePlanSchema } from '#proto/wellspring/lab/v1/plan_pb.ts'

/** A record is cut as soon as it has more bytes and two items. Twice as many are written (task/limits.ts). */
export const PART_BYTES_MAX = 128 * 1024

/** How an entity is cut: which of its items may stand in a part. */
export type Cut<D extends DescMessage> = {
  /** Behind the key of the entity's own record, and before the number of a part, from 1. */
  readonly infix: string
  /** Items that one record has at most: what changes in one of them is written with the others. */
  readonly itemsMax: number
  count(entity: MessageShape<D>): number
  /** The entity's own record: all that it has, with the items before `to` alone. */
  own(entity: MessageShape<D>, to: number): MessageShape<D>
  part(entity: MessageShape<D>, from: number, to: number): MessageShape<D>
}

/** Images of a site: those of a stack are many, and each is written several times. */
export const siteCut: Cut<typeof SiteStateSchema> = {
  infix: '#images.',
  itemsMax: 16,
  count: ({ images }) => images.length,
  own: (site, to) => ({ ...site, images: site.images.slice(0, to) }),
  part: ({ images }, from, to) => create(SiteStateSchema, { images: images.slice(from, to) }),
}

/** Wells of a plan, which is written once. */
export const planCut: Cut<typeof PlatePlanSchema> = {
  infix: '.',
  itemsMax: Infinity,
  count: ({ wells }) => wells.length,
  own: (plan, to) => ({ ...plan, wells: plan.wells.slice(0, to) }),
  part: ({ wells }, from, to) => create(PlatePlanSchema, { wells: wells.slice(from, to) }),
}

/** An entity in records: its own, then the parts, each with so many items. */
export type Pieces = { readonly counts: readonly number[]; readonly records: readonly Uint8Array[] }

/**
 * Cuts an entity; `before` are the counts of the last time, if there are any. Items stay in the record they were in, so
 * that those in which nothing changed need not be written, unless it has become too large.
 */
export function pieces<D extends DescMessage>(
  schema: D,
  cut: Cut<D>,
  entity: MessageShape<D>,
  before: readonly number[],
): Pieces {
  const counts: number[] = []
  const records: Uint8Array[] = []
  const add = (from: number, to: number): void => {
    const isOwn = records.length === 0
    const bytes = encoded(schema, isOwn ? cut.own(entity, to) : cut.part(entity, from, to))
    // A part has an item at least; the entity's own record needs none.
    if (bytes.length > PART_BYTES_MAX && to - from > (isOwn ? 0 : 1)) {
      const middle = isOwn ? Math.floor(to / 2) : Math.ceil((from + to) / 2)
      add(from, middle)
      return add(middle, to)
    }
    counts.push(to - from)
    records.push(bytes)
  }
  let from = 0
  for (const count of grown(before, cut.count(entity), cut.itemsMax)) {
    add(from, from + count)
    from += count
  }
  return { counts, records }
}

/** As before, with what is new at the end. */
function grown(before: readonly number[], total: number, itemsMax: number): number[] {
  const counts = before.flatMap((count) => (count > itemsMax ? filled(count, itemsMax) : count))
  const missing = total - counts.reduce((sum, one) => sum + one, 0)
  const last = counts.pop() ?? 0
  return [...counts, ...filled(last + missing, itemsMax)]
}

/** So many items in full records, and the rest in a last one. */
function filled(count: number, itemsMax: number): number[] {
  if (count <= itemsMax) return [count]
  return [itemsMax, ...filled(count - itemsMax, itemsMax)]
}

const writeKnown = { writeUnknownFields: false } as const

/** Fields that nobody here knows are not written: what is kept is what was understood, and as large as it looks. */
export function encoded<D extends DescMessage>(schema: D, entity: MessageShape<D>): Uint8Array {
  return toBinary(schema, entity, writeKnown)
}
