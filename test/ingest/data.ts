// The real data sets beside the repository. Absent: the tests on them are skipped, loudly.
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'

const ROOT = resolve(import.meta.dirname, '../../../shared/data')

/** Folder of a set, and the options that skip a test when it is not there. */
export function realSet(name: string): { path: string; needs: { skip: string | false } } {
  const path = join(ROOT, name)
  if (existsSync(path)) return { path, needs: { skip: false } }
  console.error(`REAL DATA MISSING: ${path} is not there, its tests are SKIPPED`)
  return { path, needs: { skip: `real data ${name} is missing` } }
}
