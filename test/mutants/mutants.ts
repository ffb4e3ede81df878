// npm run mutants [-- --only PART OF A NAME --trust]: breaks a copy of the repository in one way at a time and runs the tests
// that must notice. Prints which test noticed; exit code 1 if one did not. First they must pass on the copy as it is; --trust believes that.
import { execFileSync, spawn } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { brokerForTests } from '../../dev/broker.ts'
import { mutated } from './apply.ts'
import type { Catcher } from './list.ts'
import { mutants } from './list.ts'

const limits = { testMs: 240_000 } as const

const root = join(import.meta.dirname, '../..')
const { values } = parseArgs({
  options: { only: { type: 'string', default: '' }, trust: { type: 'boolean', default: false } },
})
const chosen = mutants.filter(({ name }) => name.includes(values.only))
if (chosen.length === 0) {
  for (const { name } of mutants) console.log(name)
  process.exit(2)
}

process.env['WELLSPRING_TEST_BROKERS'] = (await brokerForTests()).brokers.join(',')
const copy = copied()
if (!values.trust) console.log('without any mutation …')
const sound = await failuresOf(values.trust ? [] : chosen.flatMap(({ tests }) => tests))
for (const [test, failed] of sound) console.log(`FAILS UNBROKEN  ${test}: ${failed}`)
let survivors = 0
if (sound.size === 0) for (const mutant of chosen) survivors += (await isCaught(mutant)) ? 0 : 1
const verdict =
  sound.size > 0 ? 'not judged' : `${chosen.length - survivors} caught, ${survivors} survived`
console.log(`${chosen.length} mutations: ${verdict}`)
rmSync(copy, { recursive: true, force: true })
process.exit(sound.size + survivors > 0 ? 1 : 0)

async function isCaught({ name, edits, tests }: (typeof chosen)[number]): Promise<boolean> {
  const texts = mutated(root, edits)
  for (const [file, changed] of texts) writeFileSync(join(copy, file), changed)
  const failed = await failuresOf(tests)
  for (const file of texts.keys()) writeFileSync(join(copy, file), readFileSync(join(root, file)))
  for (const test of tests) {
    const by = failed.get(nameOf(test))
    console.log(
      `${by === undefined ? 'SURVIVED' : 'caught  '}  ${name}  |  ${test.file}: ${by ?? '-'}`,
    )
  }
  return failed.size === tests.length
}

/** The first test that failed, by catcher. */
async function failuresOf(tests: readonly Catcher[]): Promise<Map<string, string>> {
  const failures = new Map<string, string>()
  for (const [name, test] of new Map(tests.map((one) => [nameOf(one), one]))) {
    const failed = await firstFailure(test)
    if (failed !== undefined) failures.set(name, failed)
  }
  return failures
}

async function firstFailure({ file, only }: Catcher): Promise<string | undefined> {
  const args = [
    '--test',
    '--test-reporter=tap',
    ...(only ? [`--test-name-pattern=${only}`] : []),
    file,
  ]
  const env = { ...process.env }
  delete env['NODE_TEST_CONTEXT']
  const child = spawn(process.execPath, args, {
    cwd: copy,
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
  }, limits.testMs)
  const output = await text(child.stdout)
  clearTimeout(timer)
  if (isLate) return 'it did not end'
  if (!/^# pass [1-9]/m.test(output) && !/^# fail [1-9]/m.test(output)) return 'no test ran'
  // The first line is the innermost; the file's own comes last.
  return /^\s*not ok \d+ - (.*)$/m.exec(output)?.[1]
}

function nameOf({ file, only }: Catcher): string {
  return `${file} ${only ?? ''}`
}

/** Everything tracked and to be tracked, on a place of its own. */
function copied(): string {
  const dir = mkdtempSync(join(tmpdir(), 'wellspring-mutants-'))
  const args = ['ls-files', '--cached', '--others', '--exclude-standard', '-z']
  for (const file of execFileSync('git', args, { cwd: root, encoding: 'utf8' }).split('\0')) {
    if (file === '') continue
    mkdirSync(dirname(join(dir, file)), { recursive: true })
    cpSync(join(root, file), join(dir, file))
  }
  symlinkSync(join(root, 'node_modules'), join(dir, 'node_modules'))
  cpSync(join(root, 'proto/gen'), join(dir, 'proto/gen'), { recursive: true })
  return dir
}
