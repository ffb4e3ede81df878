// A set of jars on disk, fetched once, and used only when each of them is, byte for byte, the one that was recorded.
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'

const project = join(import.meta.dirname, '..', '..')

export type JarSet = {
  /** What Maven is asked for. */
  readonly pom: string
  /** The recorded SHA-256 of each jar, a line each, as `sha256sum *.jar` prints them. */
  readonly sums: string
  /** Where they are kept. */
  readonly directory: string
}

/**
 * Class path of a set of jars, fetched by `fetch(pom, directory)` when they are missing or their pom has changed.
 * Rejects with what `fetch` says, or when a jar is not the recorded one.
 */
export async function ensureJars(
  set: JarSet,
  fetch: (pom: string, directory: string) => Promise<void>,
): Promise<string> {
  if (isThere(set)) return join(set.directory, '*')
  mkdirSync(dirname(set.directory), { recursive: true })
  // Fetched aside and renamed: two processes that start at once each see either no jars or all of them.
  const aside = mkdtempSync(`${set.directory}-`)
  try {
    await fetch(set.pom, aside)
    refuse(set, differences(aside, set.sums))
    copyFileSync(set.pom, join(aside, 'pom.xml'))
    copyFileSync(set.sums, join(aside, basename(set.sums)))
    rmSync(set.directory, { recursive: true, force: true })
    renameSync(aside, set.directory)
  } catch (error) {
    rmSync(aside, { recursive: true, force: true })
    if (!isThere(set)) throw error // otherwise another process was quicker
  }
  return join(set.directory, '*')
}

/** Whether the directory holds the jars of this pom, and they were compared with this list. */
function isThere({ pom, sums, directory }: JarSet): boolean {
  if (!isCopy(join(directory, 'pom.xml'), pom)) return false
  const compared = join(directory, basename(sums))
  if (isCopy(compared, sums)) return true
  if (differences(directory, sums).length > 0) return false
  copyFileSync(sums, compared)
  return true
}

function isCopy(copy: string, original: string): boolean {
  return existsSync(copy) && readFileSync(copy).equals(readFileSync(original))
}

/** What in a directory of jars is not as recorded, a sentence each. */
export function differences(directory: string, sums: string): string[] {
  const recorded = readSums(sums)
  const found = new Map(jarsIn(directory).map((name) => [name, sumOf(join(directory, name))]))
  const missing = [...recorded.keys()].filter((name) => !found.has(name))
  return [
    ...missing.map((name) => `${name} is missing`),
    ...[...found].flatMap(([name, sum]) => {
      const wanted = recorded.get(name)
      if (wanted === sum) return []
      return wanted === undefined
        ? [`${name} is not listed`]
        : [`${name} has SHA-256 ${sum}, not ${wanted}`]
    }),
  ]
}

/** The lines of a list for the jars in a directory, in the order of their names. */
export function sumsOf(directory: string): string {
  return jarsIn(directory)
    .map((name) => `${sumOf(join(directory, name))}  ${name}\n`)
    .join('')
}

/** Name to SHA-256 in hex. */
export function readSums(file: string): Map<string, string> {
  const lines = readFileSync(file, 'utf8').split('\n')
  return new Map(
    lines.flatMap((line) => {
      const [, sum, name] = /^([0-9a-f]{64}) {2}(\S+\.jar)$/.exec(line) ?? []
      return sum === undefined || name === undefined ? [] : [[name, sum] as const]
    }),
  )
}

function jarsIn(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => name.endsWith('.jar'))
    .toSorted()
}

function sumOf(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex')
}

function refuse({ sums }: JarSet, odd: readonly string[]): void {
  if (odd.length === 0) return
  throw new Error(
    `What Maven fetched is not what ${relative(project, sums)} records, so none of it is used: ${odd.join('; ')}. ` +
      "A mirror between here and Maven Central, or a damaged copy in Maven's local repository (~/.m2/repository), " +
      'is the likely cause: remove that copy or go round the mirror, and try again. ' +
      'After a change of the pom, record anew: node dev/run.mjs dev/broker/record.ts',
  )
}
