// `npm run check`: the single gate. `--fast` leaves the tests out.
import { parseArgs } from 'node:util'
import { checkGenerated } from './generate.ts'
import { inSeconds, root, runTool, type ToolResult } from './tools.ts'
import { spawnSync } from 'node:child_process'

type Check = { readonly name: string; readonly run: () => Promise<ToolResult> }

const checks: readonly Check[] = [
  { name: 'oxfmt', run: () => runTool('oxfmt', ['--check', '.']) },
  {
    name: 'buf format',
    run: () => runTool('buf', ['format', '-d', '--exit-code', '--path', 'proto/wellspring']),
  },
  { name: 'buf lint', run: () => runTool('buf', ['lint']) },
  { name: 'buf breaking', run: checkBreaking },
  { name: 'generated code', run: checkGenerated },
  { name: 'tsc', run: () => runTool('tsc', []) },
  { name: 'oxlint', run: () => runTool('oxlint', ['--type-aware', '--max-warnings', '0', '.']) },
]

const { values } = parseArgs({ options: { fast: { type: 'boolean', default: false } } })
const failed = await runChecks()
if (failed.length > 0) {
  process.stderr.write(`check failed: ${failed.join(', ')}\n`)
  process.exit(1)
}
if (!values.fast) {
  const tests = spawnSync(process.execPath, ['test/run.ts'], { cwd: root, stdio: 'inherit' })
  process.exit(tests.status ?? 1)
}

/** All of them, so that one run shows every mistake. Returns the names of those that failed. */
async function runChecks(): Promise<string[]> {
  const bad: string[] = []
  for (const { name, run } of checks) {
    const from = performance.now()
    const { code, output } = await run()
    const note = code === 0 ? lastWord(output) : ''
    console.log(`${code === 0 ? 'ok  ' : 'FAIL'} ${name.padEnd(16)} ${since(from)}${note}`)
    if (code === 0) continue
    bad.push(name)
    process.stdout.write(output)
  }
  return bad
}

function since(from: number): string {
  return inSeconds(performance.now() - from).padStart(6)
}

/** A check that had nothing to do says why, in one line that begins with "skipped". */
function lastWord(output: string): string {
  return output.startsWith('skipped') ? `  ${output.trimEnd()}` : ''
}

/** Compares the contracts with those we promised last: where this branch left main, or else the last tag. */
async function checkBreaking(): Promise<ToolResult> {
  const base = await promisedCommit()
  if (base === undefined)
    return { code: 0, output: 'skipped: no other branch point and no tag to compare with' }
  return runTool('buf', ['breaking', '--against', `.git#ref=${base}`])
}

async function promisedCommit(): Promise<string | undefined> {
  const head = await git('rev-parse', 'HEAD')
  const branched = await git('merge-base', 'HEAD', 'origin/HEAD')
  if (branched !== undefined && branched !== head) return branched
  const tag = await git('describe', '--tags', '--abbrev=0', 'HEAD~')
  return tag === undefined ? undefined : git('rev-parse', `${tag}^{commit}`)
}

async function git(...args: string[]): Promise<string | undefined> {
  const { code, output } = await runTool('git', args)
  return code === 0 ? output.trim() : undefined
}
