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
  const columns = tables[0]?.columns ?? []
  return columns.flatMap((name, i) => {
    if (identifiers.has(name)) return []
    const values = tables.flatMap(({ rows }) => rows.map((row) => numberOf(row[i])))
    const value = median(values.filter((number) => Number.isFinite(number)))
    return value === undefined ? [] : [{ name, value }]
  })
}

/** The first table whose columns differ from the first one's, with what differs. */
export function columnsDiffer(tables: readonly Table[]): string | undefined {
  const [first, ...others] = tables
  for (const [i, table] of others.entries()) {
    const lost = first?.columns.filter((column) => !table.columns.includes(column)) ?? []
    const extra = table.columns.filter((column) => !first?.columns.includes(column))
    if (table.columns.join() === first?.columns.join()) continue
    const list = (names: readonly string[]) => names.slice(0, 5).join(', ') || 'none'
    return `table ${i + 2} lacks ${list(lost)}; has besides: ${list(extra)}`
  }
  return undefined
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
