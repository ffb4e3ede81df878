// H2: no process ends more than three times over one record. H3: what does not fit is not called, and stops no start.
// H4: a port refuses what is hostile, and still takes what is honest. H6: memory does not follow what others claim.
import type { Evidence, MemorySlot, Sample } from '../evidence.ts'

const limits = {
  endsMax: 3,
  postMsMax: 5_000,
  /** Fewer looks say nothing about a kind. */
  looksMin: 3,
} as const

/** H2. */
export function endings({ circumstances: { incoming } }: Evidence): string[] {
  return (incoming?.spans ?? []).flatMap(({ by, fromMs, toMs }) => {
    const within = incoming?.ends.filter(({ atMs }) => fromMs <= atMs && atMs < toMs) ?? []
    return [...Map.groupBy(within, ({ name }) => name)].flatMap(([name, all]) =>
      all.length <= limits.endsMax
        ? []
        : [`${name} ended ${all.length} times over ${by} at ${fromMs}: ${all[0]?.how}`],
    )
  })
}

/** H3. */
export function oddReplicas({ calls, circumstances: { incoming } }: Evidence): string[] {
  const starts = (incoming?.starts ?? []).flatMap(({ atMs, beside, problem }) =>
    problem === undefined ? [] : [`no start beside ${beside} at ${atMs}: ${problem}`],
  )
  const odd = calls.filter(({ outcome }) => outcome === 'odd')
  const called = odd.map(
    ({ entity, step, start }) => `${entity}/${step} was called at ${start} where it does not fit`,
  )
  return [...starts, ...called]
}

/** H4. */
export function ports({ circumstances: { incoming } }: Evidence): string[] {
  const answered = (incoming?.posts ?? []).filter(({ isThere }) => isThere)
  return answered.flatMap(({ atMs, name, what, isHostile, status, tookMs }) => {
    const where = `${name} at ${atMs}: ${what}`
    if (tookMs > limits.postMsMax) return [`${where} took ${tookMs} ms`]
    if (isHostile && status !== undefined && (status < 400 || status >= 500))
      return [`${where} was answered ${status}`]
    if (!isHostile && status !== 200) return [`${where} was answered ${status ?? 'by nothing'}`]
    return []
  })
}

/** What one kind did to the process that held most, as a multiple of what that held before. */
export type MemoryFigure = MemorySlot & {
  readonly name: string
  readonly beforeBytes: number
  readonly peakBytes: number
}

/** H6. */
export function memory(evidence: Evidence): string[] {
  return memoryFigures(evidence).flatMap(({ name, by, beforeBytes, peakBytes, ratioMax }) =>
    peakBytes <= ratioMax * beforeBytes
      ? []
      : [
          `${name} holds up to ${peakBytes} bytes under ${by} and ${beforeBytes} before it: ` +
            `${(peakBytes / beforeBytes).toFixed(2)} times as much; ${ratioMax} are allowed`,
        ],
  )
}

/** By kind, of the process that grew most; none of a kind during which too few looks were taken. */
export function memoryFigures({ circumstances }: Evidence): MemoryFigure[] {
  const { incoming, samples } = circumstances
  return (incoming?.memory?.slots ?? []).flatMap((slot) => {
    const grown = [...Map.groupBy(samples, ({ pid }) => pid).values()].flatMap((looks) =>
      growthIn(looks, slot),
    )
    const [most] = grown.toSorted(
      (a, b) => b.peakBytes / b.beforeBytes - a.peakBytes / a.beforeBytes,
    )
    return most ? [most] : []
  })
}

/** Of one process. */
function growthIn(looks: readonly Sample[], slot: MemorySlot): MemoryFigure[] {
  const before = looks.findLast(({ atMs }) => atMs <= slot.fromMs)
  const within = looks.filter(({ atMs }) => slot.fromMs < atMs && atMs <= slot.toMs)
  if (!before || within.length < limits.looksMin) return []
  const peakBytes = within.reduce((most, one) => Math.max(most, one.peakBytes ?? one.rssBytes), 0)
  return [{ ...slot, name: before.name, beforeBytes: before.rssBytes, peakBytes }]
}
