// `npm test [-- part of a path …]`: every suite, each file a process, three at a time, one shared broker.
// Ends with node:test's own summary; exit code 0 only if every test passed.
import { mkdtemp, rm, glob } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { finished } from 'node:stream/promises'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { startBroker } from '../dev/broker.ts'

const limits = { filesAtOnce: 3, fileTimeoutMs: 240_000 } as const

/** Rooms whose files take longest go first, so that the end is not one slow file alone. */
const FIRST = [
  'dev/start',
  'faults/faults',
  'e2e',
  'sim',
  'log',
  'kafka',
  'task',
  'cli',
  'dev',
  'services',
  'calls',
  'kit',
] as const

const root = join(import.meta.dirname, '..')
const files = await testFiles(process.argv.slice(2))
if (files.length === 0) {
  process.stderr.write(`no test file matches ${process.argv.slice(2).join(' ')}\n`)
  process.exit(2)
}
const stopBroker = await sharedBroker()
const passed = await runAll()
await stopBroker()
process.exit(passed ? 0 : 1)

async function testFiles(parts: readonly string[]): Promise<string[]> {
  const found: string[] = []
  for await (const file of glob('test/**/*.test.ts', { cwd: root })) found.push(file)
  const room = (file: string): number => {
    const at = FIRST.findIndex((name) => file.startsWith(join('test', name)))
    return at === -1 ? FIRST.length : at
  }
  return found
    .filter((file) => parts.length === 0 || parts.some((part) => file.includes(part)))
    .toSorted((a, b) => room(a) - room(b) || a.localeCompare(b))
    .map((file) => join(root, file))
}

/** One broker for all suites: topic prefixes keep them apart. Suites that kill brokers start their own. */
async function sharedBroker(): Promise<() => Promise<void>> {
  const given = process.env['WELLSPRING_TEST_BROKERS'] ?? process.env['KAFKA_BROKERS']
  if (given) {
    process.env['WELLSPRING_TEST_BROKERS'] = given
    return async () => {}
  }
  const dir = await mkdtemp(join(tmpdir(), 'wellspring-tests-'))
  const broker = await startBroker({ dir })
  process.env['WELLSPRING_TEST_BROKERS'] = broker.brokers.join(',')
  return async () => {
    await broker.kill() // nothing in it is needed any more
    await rm(dir, { recursive: true, force: true, maxRetries: 3 })
  }
}

async function runAll(): Promise<boolean> {
  let passed = false
  const tests = run({
    files,
    concurrency: limits.filesAtOnce,
    isolation: 'process',
    timeout: limits.fileTimeoutMs,
  })
  // The summary without a file is that of the whole run; a file that could not be loaded fails it too.
  tests.on('test:summary', ({ file, success }) => {
    if (file === undefined) passed = success
  })
  const report = tests.compose(new spec())
  report.pipe(process.stdout, { end: false })
  await finished(report, { writable: false })
  return passed
}
