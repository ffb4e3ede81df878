// node dev/run.mjs dev/broker/record.ts: after a change of a pom, fetches its jars and writes down their SHA-256.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sumsOf } from './jars.ts'
import { say } from '../say.ts'
import { copyJars, jarSets } from './java.ts'

for (const { pom, sums } of Object.values(jarSets)) {
  const directory = mkdtempSync(join(tmpdir(), 'wellspring-jars-'))
  try {
    await copyJars(pom, directory)
    writeFileSync(sums, sumsOf(directory))
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
say('Recorded. Look at the difference before you commit it; THIRD_PARTY.md names every jar.')
