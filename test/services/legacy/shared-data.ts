import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { parse } from 'csv-parse/sync'

/** Folder of real images beside the repository, or undefined, said loudly, when it is not there. */
export const dataDir = findData()

/** `{ skip }` for tests that need the real images. */
export const needsData = dataDir === undefined ? { skip: 'no ../shared/data' } : {}

/** Absolute path inside the data folder. */
export function inData(...parts: readonly string[]): string {
  return resolve(dataDir ?? '', ...parts)
}

/** Rows of a CSV file as name → text. */
export function csvRows(path: string): Record<string, string>[] {
  return parse(readFileSync(path), { columns: true, bom: true })
}

function findData(): string | undefined {
  const folder = resolve(import.meta.dirname, '../../../../shared/data')
  if (existsSync(folder)) return folder
  process.stderr.write(`\n*** NO REAL IMAGES at ${folder}: tests on real data are SKIPPED ***\n\n`)
  return undefined
}
