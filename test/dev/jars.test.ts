// The jars of the local Kafka: what differs from the recorded checksums is never used.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, test } from 'node:test'
import { ensureJars, type JarSet } from '../../dev/broker/jars.ts'
import { copyJars, fetchJars, jarSets } from '../../dev/broker/java.ts'

const root = join(import.meta.dirname, '..', '..')
const dir = mkdtempSync(join(tmpdir(), 'wellspring-jars-'))
after(() => rmSync(dir, { recursive: true, force: true }))
const CLIENTS = 'kafka-clients-4.3.1.jar'

/** The judge's jars, real ones, in a place of their own. */
async function place(name: string): Promise<JarSet> {
  await fetchJars('judge-libs')
  mkdirSync(join(dir, name))
  const set = {
    pom: join(dir, name, 'asked.xml'),
    sums: join(dir, name, 'jars.sha256'),
    directory: join(dir, name, 'libs'),
  }
  copyFileSync(jarSets['judge-libs'].pom, set.pom)
  copyFileSync(jarSets['judge-libs'].sums, set.sums)
  return set
}

/** Stands for Maven: brings the real jars, changed as told. */
function fetching(change: (directory: string) => void = () => {}) {
  return async (_pom: string, directory: string): Promise<void> => {
    for (const jar of readdirSync(jarSets['judge-libs'].directory).filter((n) => n.endsWith('jar')))
      cpSync(join(jarSets['judge-libs'].directory, jar), join(directory, jar))
    change(directory)
  }
}

const noFetch = async (): Promise<void> => assert.fail('nothing is to be fetched')

test('jars as recorded are fetched once, and again when their pom changes', async () => {
  const set = await place('good')
  assert.equal(await ensureJars(set, fetching()), join(set.directory, '*'))
  assert.ok(existsSync(join(set.directory, CLIENTS)))
  await ensureJars(set, noFetch)
  appendFileSync(set.pom, '<!-- newer -->\n')
  let fetched = 0
  const count = fetching(() => {
    fetched += 1
  })
  await ensureJars(set, count)
  assert.equal(fetched, 1)
})

test('a jar that differs, one too many and one too few each stop the use of all, by name', async () => {
  const cases: readonly (readonly [string, (directory: string) => void, RegExp])[] = [
    ['changed', (to) => appendFileSync(join(to, CLIENTS), 'x'), /clients-4\.3\.1\.jar has SHA-256/],
    ['more', (to) => writeFileSync(join(to, 'evil-1.jar'), 'x'), /evil-1\.jar is not listed/],
    ['fewer', (to) => rmSync(join(to, CLIENTS)), /clients-4\.3\.1\.jar is missing/],
  ]
  for (const [name, change, said] of cases) {
    const set = await place(name)
    await assert.rejects(ensureJars(set, fetching(change)), (error: Error) => {
      assert.match(error.message, said)
      assert.match(error.message, /none of it is used.*remove that copy/)
      return true
    })
    assert.deepEqual(readdirSync(join(dir, name)).toSorted(), ['asked.xml', 'jars.sha256'])
  }
})

test('a fetch that fails is not made good by the jars of an older pom', async () => {
  const set = await place('older')
  await ensureJars(set, fetching())
  appendFileSync(set.pom, '<!-- newer -->\n')
  const away = async (): Promise<void> => {
    throw new Error('no network')
  }
  await assert.rejects(ensureJars(set, away), /no network/)
  await assert.rejects(
    ensureJars(
      set,
      fetching((to) => appendFileSync(join(to, CLIENTS), 'x')),
    ),
    /none of it is used/,
  )
})

test('jars from before there was a list are compared once, and fetched anew if they differ', async () => {
  const set = await place('unlisted')
  await ensureJars(set, fetching())
  rmSync(join(set.directory, 'jars.sha256'))
  await ensureJars(set, noFetch)
  rmSync(join(set.directory, 'jars.sha256'))
  appendFileSync(join(set.directory, CLIENTS), 'x')
  await ensureJars(set, fetching())
  const real = join(jarSets['judge-libs'].directory, CLIENTS)
  assert.ok(readFileSync(join(set.directory, CLIENTS)).equals(readFileSync(real)))
})

test('Maven is asked with strict checksums, for the plugin that the pom pins', async () => {
  const bin = join(dir, 'bin')
  mkdirSync(bin)
  const asked = join(dir, 'asked.txt')
  writeFileSync(join(bin, 'mvn'), `#!/bin/sh\necho "$@" > '${asked}'\n`, { mode: 0o755 })
  const path = process.env['PATH']
  process.env['PATH'] = `${bin}:${path}`
  try {
    await copyJars(jarSets['kafka-libs'].pom, dir)
  } finally {
    process.env['PATH'] = path
  }
  const args = readFileSync(asked, 'utf8').trim().split(' ')
  assert.ok(args.includes('--strict-checksums'))
  assert.ok(args.includes('org.apache.maven.plugins:maven-dependency-plugin:copy-dependencies'))
})

test('an installation without our Node is named: npm passes over it in silence', async () => {
  const clone = join(dir, 'clone')
  for (const folder of ['dev', 'cli']) mkdirSync(join(clone, folder), { recursive: true })
  for (const file of ['dev/run.mjs', 'cli/own-node.mjs', 'package-lock.json'])
    copyFileSync(join(root, file), join(clone, file))
  const npm = join(dir, 'npm.js')
  writeFileSync(npm, 'process.exit(0)\n')
  const child = spawn(process.execPath, ['dev/run.mjs', 'dev/gen.ts'], {
    cwd: clone,
    env: { ...process.env, npm_execpath: npm },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const said = text(child.stderr)
  await once(child, 'close')
  assert.equal(child.exitCode, 1)
  assert.match(
    await said,
    /installed no node-\w+-\w+: .*not what package-lock\.json says.*\n.*Check the network/,
  )
})
