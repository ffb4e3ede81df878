// npm run mutants [-- --only PART OF A NAME --trust]: breaks a copy of the repository in one way at a time and runs the
// tests that must notice. Prints which test noticed, and in the end a table; exit code 1 if one did not. First they must
// pass on the copy as it is; --trust believes that. --only may be given more than once.
import { execFileSync, spawn } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { brokerForTests } from '../../dev/broker.ts'
import { mutated } from './apply.ts'
import { mutants, type Catcher, type Mutant } from './list.ts'

const limits = {
  /** One test: what hangs instead of failing is named too. */
  testMs: 300_000,
  /** A file: longer than that, nobody knows what went wrong. */
  fileMs: 420_000,
} as const

const root = join(import.meta.dirname, '../..')
const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: [''] },
    trust: { type: 'boolean', default: false },
  },
})
const chosen = mutants.filter(({ name }) => values.only.some((part) => name.includes(part)))
if (chosen.length === 0) {
  for (const { name } of mutants) console.log(name)
  process.exit(2)
}

/** What became of a test file: all passed, a test failed, or it says nothing about the mutation. */
type Ran =
  | { readonly kind: 'passed' }
  | { readonly kind: 'failed'; readonly test: string }
  | { readonly kind: 'unclear'; readonly why: string }
type Row = { readonly name: string; readonly file: string; readonly ran: Ran; readonly ms: number }

process.env['WELLSPRING_TEST_BROKERS'] = (await brokerForTests()).brokers.join(',')
const dir = mkdtempSync(join(tmpdir(), 'wellspring-mutants-'))
let endTest = (): void => {}
process.on('exit', () => {
  endTest()
  rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1))
const copy = copied()
/** Tests that are killed leave what they had there. */
const scrap = join(dir, 'tmp')
mkdirSync(scrap)
if (!values.trust && !(await isSound())) process.exit(1)
const rows: Row[] = []
for (const mutant of chosen) rows.push(...(await tried(mutant)))
console.log(`\n| mutation | caught by | s |\n|---|---|---|`)
for (const { name, file, ran, ms } of rows)
  console.log(`| ${name} | ${wordsOf(file, ran)} | ${(ms / 1_000).toFixed(0)} |`)
const caught = chosen.filter(({ name }) =>
  rows.every((row) => row.name !== name || row.ran.kind === 'failed'),
)
console.log(`\n${chosen.length} mutations: ${caught.length} caught`)
process.exit(caught.length === chosen.length ? 0 : 1)

/** Whether all tests pass as long as nothing is broken. */
async function isSound(): Promise<boolean> {
  const tests = new Map(chosen.flatMap((one) => one.tests).map((test) => [nameOf(test), test]))
  let isOk = true
  for (const [name, test] of tests) {
    const ran = await run(test)
    console.log(`unbroken  ${name}: ${ran.kind === 'passed' ? 'passes' : wordsOf('', ran)}`)
    isOk &&= ran.kind === 'passed'
  }
  return isOk
}

async function tried({ name, edits, tests }: Mutant): Promise<Row[]> {
  const texts = mutated(root, edits)
  for (const [file, changed] of texts) writeFileSync(join(copy, file), changed)
  const rows: Row[] = []
  for (const test of tests) {
    const startMs = performance.now()
    const ran = await run(test)
    rows.push({ name, file: test.file, ran, ms: performance.now() - startMs })
    console.log(
      `${ran.kind === 'failed' ? 'caught' : 'SURVIVED'}  ${name}: ${wordsOf(test.file, ran)}`,
    )
  }
  for (const file of texts.keys()) writeFileSync(join(copy, file), readFileSync(join(root, file)))
  return rows
}

/** Runs a test file, up to the first test that fails. */
async function run({ file, only }: Catcher): Promise<Ran> {
  const pattern = only ? [`--test-name-pattern=${only}`] : []
  const timeout = `--test-timeout=${limits.testMs}`
  const env: NodeJS.ProcessEnv = { ...process.env, TMPDIR: scrap }
  delete env['NODE_TEST_CONTEXT']
  const child = spawn(
    process.execPath,
    ['--test', '--test-reporter=tap', timeout, ...pattern, file],
    { cwd: copy, env, detached: true, stdio: ['ignore', 'pipe', 'ignore'] },
  )
  endTest = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    } catch {
      // It has ended by itself.
    }
  }
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    endTest()
  }, limits.fileMs)
  let passed = 0
  let failed: string | undefined
  for await (const line of createInterface({ input: child.stdout })) {
    passed += Number(/^# pass (\d+)/.exec(line)?.[1] ?? 0)
    failed ??= /^\s*not ok \d+ - (.*)$/.exec(line)?.[1]
    // The first line is the innermost.
    if (failed !== undefined) endTest()
  }
  clearTimeout(timer)
  endTest = () => {}
  if (isLate) return { kind: 'unclear', why: `it did not end in ${limits.fileMs / 1_000} s` }
  if (failed?.endsWith(file))
    return { kind: 'unclear', why: 'the file failed, but none of its tests' }
  if (failed !== undefined) return { kind: 'failed', test: failed }
  return passed > 0 ? { kind: 'passed' } : { kind: 'unclear', why: 'no test ran' }
}

function wordsOf(file: string, ran: Ran): string {
  switch (ran.kind) {
    case 'passed':
      return 'nobody'
    case 'failed':
      return `${file.replace('test/', '').replace('.test.ts', '')}: ${ran.test}`
    case 'unclear':
      return `nobody: ${ran.why}`
  }
}

function nameOf({ file, only }: Catcher): string {
  return `${file} ${only ?? ''}`
}

/** Everything tracked and to be tracked, on a place of its own. */
function copied(): string {
  const to = join(dir, 'copy')
  const args = ['ls-files', '--cached', '--others', '--exclude-standard', '-z']
  for (const file of execFileSync('git', args, { cwd: root, encoding: 'utf8' }).split('\0')) {
    if (file === '') continue
    mkdirSync(dirname(join(to, file)), { recursive: true })
    cpSync(join(root, file), join(to, file))
  }
  // Packages of our own are those of the copy: what is broken there must be what is imported.
  const modules = join(to, 'node_modules')
  mkdirSync(join(modules, '@wellspring'), { recursive: true })
  for (const name of readdirSync(join(root, 'node_modules')))
    if (name !== '@wellspring') symlinkSync(join(root, 'node_modules', name), join(modules, name))
  for (const name of readdirSync(join(root, 'node_modules/@wellspring')))
    symlinkSync(
      readlinkSync(join(root, 'node_modules/@wellspring', name)),
      join(modules, '@wellspring', name),
    )
  cpSync(join(root, 'proto/gen'), join(to, 'proto/gen'), { recursive: true })
  return to
}
