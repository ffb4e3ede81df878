import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { createWorkers, type Limits } from '../../../services/legacy/imageqc-http/workers.ts'
import { writePng16 } from '../../../services/legacy/pixels.ts'

const limits: Limits = {
  workersMax: 1,
  queueLengthMax: 4,
  jobTimeMaxMs: 10_000,
  jobMemoryMaxMib: 1_536,
}
const folder = mkdtempSync(join(tmpdir(), 'workers-'))
const large = join(folder, 'large.png')
const small = join(folder, 'small.png')
const notFlat = new Uint16Array(49e6).fill(9, 0, 1e6)
await writePng16(large, { values: notFlat, widthPx: 7000, heightPx: 7000 })
after(() => rmSync(folder, { recursive: true }))
await writePng16(small, { values: new Uint16Array(4), widthPx: 2, heightPx: 2 })

test('a job that passes its time limit dies, and the next one runs', async (t) => {
  const workers = createWorkers({ ...limits, jobTimeMaxMs: 1_000 })
  t.after(() => workers.close())
  const outcomes = await Promise.all([
    workers.run({ path: large, ceiling: 0 }),
    workers.run({ path: small, ceiling: 0 }),
  ])
  assert.deepEqual(outcomes[0], {
    kind: 'timed-out',
    text: 'the decoder passed its time limit of 1000 ms',
  })
  assert.equal(outcomes[1].kind, 'measured')
})

test('a job that passes its memory limit dies, and the next one runs', async (t) => {
  const workers = createWorkers({ ...limits, jobMemoryMaxMib: 1_000 })
  t.after(() => workers.close())
  const outcome = await workers.run({ path: large, ceiling: 0 })
  assert.ok(outcome.kind === 'crashed' || outcome.kind === 'unreadable', outcome.kind)
  assert.match(outcome.text, /memory limit of 1_000 MiB|allocation failed|out of memory/)
  assert.equal((await workers.run({ path: small, ceiling: 0 })).kind, 'measured')
})

test('a worker that something else ends costs no image its numbers', async (t) => {
  const workers = createWorkers(limits)
  t.after(() => workers.close())
  assert.equal((await workers.run({ path: small, ceiling: 0 })).kind, 'measured')
  const children = execFileSync('pgrep', ['-P', String(process.pid)], { encoding: 'utf8' })
  const answer = workers.run({ path: small, ceiling: 0 })
  for (const pid of children.trim().split('\n').map(Number)) tryKill(pid)
  assert.equal((await answer).kind, 'measured')
})

function tryKill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // pgrep itself was a child of this process, and is gone
  }
}
