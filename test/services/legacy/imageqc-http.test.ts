import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { csvRows, inData, needsData } from './shared-data.ts'
import { startProgram, type Program } from './programs.ts'

let program: Program
before(async () => {
  program = await startProgram('legacy/imageqc-http/main.ts', { PORT: '0', QUEUE_LENGTH_MAX: '4' })
})
after(() => program.stop())

type Answer = {
  readonly status: number
  readonly body: Record<string, unknown>
  readonly trace: string | null
}

async function assess(body: unknown): Promise<Answer> {
  const response = await fetch(`${program.url}/assess`, {
    method: 'POST',
    headers: { traceparent: '00-0123-4567-01' },
    body: JSON.stringify(body),
  })
  const trace = response.headers.get('x-trace-echo')
  return { status: response.status, body: (await response.json()) as Answer['body'], trace }
}

const [field = {}] =
  needsData.skip === undefined ? csvRows(inData('bbbc039-u2os-nuclei/manifest.csv')) : []
const image = () => inData('bbbc039-u2os-nuclei', field['path'] ?? '')

test('a readable image gives numbers, some of them as text', needsData, async () => {
  const { status, body, trace } = await assess({
    path: image(),
    channel_kind: 'nuclei',
    ceiling: 4095,
  })
  assert.equal(status, 200)
  assert.equal(trace, '00-0123-4567-01')
  assert.equal(typeof body['mean'], 'string')
  assert.ok(Math.abs(Number(body['mean']) - Number(field['mean'])) < 0.001)
  const { width, height, max, median, flag } = body
  assert.deepEqual(
    { width, height, max, median, flag },
    { width: 696, height: 520, max: 3885, median: 141, flag: 'OK' },
  )
  await program.logged('"traceparent":"00-0123-4567-01"')
})

test('two kinds of errors come as 200', async () => {
  const missing = await assess({ path: '/nowhere.tif', channel_kind: 'nuclei' })
  assert.deepEqual([missing.status, missing.body], [200, { error: 'file not found: /nowhere.tif' }])
  const unknown = await assess({ path: import.meta.filename, channel_kind: 'radio' })
  assert.deepEqual([unknown.status, unknown.body], [200, { error: 'unknown channel kind: radio' }])
  assert.equal((await assess({ path: 7 })).status, 400)
})

test(
  'no broken or hostile file gives numbers, within time, and the next image is measured',
  needsData,
  async () => {
    for (const row of csvRows(inData('broken-files/expected_outcomes.csv'))) {
      const start = performance.now()
      const { status, body } = await assess({
        path: inData('broken-files', row['file'] ?? ''),
        channel_kind: 'fluorescence',
      })
      assert.equal(status, 422, `${row['file']}: ${JSON.stringify(body)}`)
      assert.ok(performance.now() - start < 3000, row['file'])
    }
    assert.equal((await assess({ path: image(), channel_kind: 'nuclei' })).status, 200)
  },
)

test('more than it can queue is 503, and the rest is answered', needsData, async () => {
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => assess({ path: image(), channel_kind: 'nuclei' })),
  )
  const counted = Map.groupBy(answers, ({ status }) => status)
  assert.deepEqual(new Set(counted.keys()), new Set([200, 503]))
  assert.ok((counted.get(200)?.length ?? 0) >= 4)
})
