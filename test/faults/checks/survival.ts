// H2: no process ends more than three times over one record. H3: what does not fit is not called, and stops no start.
// H4: a port refuses what is hostile, and still takes what is honest. H6: memory does not follow what others claim.
import type { Evidence, Sample, Span } from '../evidence.ts'

const limits = {
  endsMax: 3,
  postMsMax: 5_000,
  /** Fewer looks say nothing about a phase. */
  looksMin: 4,
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

export type MemoryFigures = { readonly without: number; readonly under: number }

/** H6. */
export function memory(evidence: Evidence): string[] {
  const { ratioMax = 0 } = evidence.circumstances.incoming?.memory ?? {}
  const figures = memoryFigures(evidence)
  if (!figures) return []
  const ratio = figures.under / figures.without
  return ratio <= ratioMax
    ? []
    : [
        `a coordinator holds up to ${figures.under} bytes under all of it and ${figures.without} without: ` +
          `${ratio.toFixed(2)} times as much; ${ratioMax} are allowed`,
      ]
}

/** The most that any process held in either span; undefined: too few looks. */
export function memoryFigures({ circumstances }: Evidence): MemoryFigures | undefined {
  const { incoming, samples } = circumstances
  if (!incoming?.memory) return undefined
  const [without, under] = [incoming.memory.without, incoming.memory.under].map((span) =>
    peakIn(samples, span),
  )
  return without === undefined || under === undefined ? undefined : { without, under }
}

function peakIn(samples: readonly Sample[], { fromMs, toMs }: Span): number | undefined {
  const within = samples.filter(({ atMs }) => fromMs <= atMs && atMs <= toMs)
  if (within.length < limits.looksMin) return undefined
  return within.reduce((most, one) => Math.max(most, one.peakBytes ?? one.rssBytes), 0)
}
