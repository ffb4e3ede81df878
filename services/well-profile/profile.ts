/** A table of numbers, one row per object. */
export type Table = {
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

const identifiers = new Set(['ImageNumber', 'ObjectNumber'])

/**
 * Median of every numeric column over the objects of all tables together. A median of sites' medians is another
 * number, so nothing shorter than all rows will do (pycytominer aggregate, operation median, by well).
 * Cells that hold no number are left out; so is a column without any. Empty without objects.
 */
export function mediansOf(
  tables: readonly Table[],
): { readonly name: string; readonly value: number }[] {
  const columns = [...new Set(tables.flatMap((table) => table.columns))]
  return columns.flatMap((name) => {
    if (identifiers.has(name)) return []
    const values = tables.flatMap((table) => {
      const at = table.columns.indexOf(name)
      return at < 0 ? [] : table.rows.map((row) => numberOf(row[at]))
    })
    const value = median(values.filter((number) => Number.isFinite(number)))
    return value === undefined ? [] : [{ name, value }]
  })
}

/**
 * The first table whose columns differ from the first one's, with what differs. A site that lost a channel lacks that
 * channel's columns, all of them, and differs in nothing else: its objects count where they have values.
 */
export function columnsDiffer(tables: readonly Table[]): string | undefined {
  const first = measuresOf(tables[0]?.columns ?? [])
  const ofAnyChannel = [...first].find(([channel]) => channel !== '')?.[1]
  for (const [i, { columns }] of tables.entries()) {
    const own = measuresOf(columns)
    for (const channel of new Set(['', ...own.keys()])) {
      const wanted = first.get(channel) ?? (channel === '' ? [] : ofAnyChannel)
      const found = own.get(channel) ?? []
      if (!wanted || wanted.join() === found.join()) continue
      const list = (names: readonly string[]) => names.slice(0, 5).join(', ') || 'none'
      const lost = list(wanted.filter((name) => !found.includes(name)))
      const extra = list(found.filter((name) => !wanted.includes(name)))
      return `table ${i + 1} lacks ${lost}${channel && ` of channel ${channel}`}; has besides: ${extra}`
    }
  }
  return undefined
}

/** Column names by channel; under '' those of no channel. Intensity_<measure>_<channel> names one. */
function measuresOf(columns: readonly string[]): Map<string, string[]> {
  const measures = new Map<string, string[]>()
  for (const column of columns) {
    const [, measure, channel] = /^(Intensity_[A-Za-z0-9]+)_(.+)$/.exec(column) ?? []
    const of = channel ?? ''
    measures.set(of, [...(measures.get(of) ?? []), measure ?? column])
  }
  return measures
}

/** Middle value, or the mean of the two; undefined without values. */
export function median(values: readonly number[]): number | undefined {
  const sorted = Float64Array.from(values).sort()
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]]
  return low === undefined || high === undefined ? undefined : (low + high) / 2
}

function numberOf(text: string | undefined): number {
  return text === undefined || text.trim() === '' ? NaN : Number(text)
}
