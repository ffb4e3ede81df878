import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { writePng16 } from '../../../services/legacy/pixels.ts'
import { startProgram, type Program } from './programs.ts'
import { synthetic } from './synthetic.ts'

const folder = mkdtempSync(join(tmpdir(), 'cellfeat-'))
const [labels, image, small] = ['labels', 'image', 'small'].map((name) =>
  join(folder, `${name}.png`),
)
const job = { labels, images: [{ channel: 'DNA', path: image }] }
const environment = { PORT: '0', LAG_MS: '50', KEPT_MS: '400', QUEUE_LENGTH_MAX: '3' }

let program: Program
before(async () => {
  const pixels = synthetic(120, 100, true)
  await writePng16(image ?? '', pixels)
  await writePng16(small ?? '', { values: new Uint16Array(4), widthPx: 2, heightPx: 2 })
  await writePng16(labels ?? '', {
    ...pixels,
    values: pixels.values.map((v) => (v > 1000 ? 1 : 0)),
  })
  program = await startProgram('legacy/cellfeat-jobs/main.ts', environment)
})
after(async () => {
  await program.stop()
  rmSync(folder, { recursive: true })
})

async function get(path: string): Promise<{ status: number; text: string }> {
  const response = await fetch(`${program.url}${path}`)
  return { status: response.status, text: await response.text() }
}

async function submit(body: unknown): Promise<{ status: number; id: string }> {
  const response = await fetch(`${program.url}/jobs`, {
    method: 'POST',
    body: JSON.stringify(body),
  })
  const { id = '' } = (await response.json()) as { id?: string }
  return { status: response.status, id }
}

async function ended(id: string): Promise<Record<string, unknown>> {
  for (;;) {
    const state = JSON.parse((await get(`/jobs/${id}`)).text) as Record<string, unknown>
    if (state['state'] === 'done' || state['state'] === 'failed') return state
    await sleep(10) // there is no event to wait for: polling is this program's nature
  }
}

test('a job is queued, runs, gives a table, and is gone after its time', async () => {
  const { status, id } = await submit(job)
  assert.equal(status, 202)
  assert.equal((await get(`/jobs/${id}/result`)).status, 409)
  assert.deepEqual(await ended(id), { id, state: 'done', rows: 1 })
  const { text } = await get(`/jobs/${id}/result`)
  assert.match(text, /^ImageNumber,ObjectNumber,AreaShape_Area,.*Intensity_StdIntensity_DNA\n1,1,/)
  while ((await get(`/jobs/${id}`)).status !== 410) await sleep(20)
  assert.equal((await get(`/jobs/${id}/result`)).status, 410)
})

test('the same job twice is two jobs', async () => {
  const [first, second] = [await submit(job), await submit(job)]
  assert.notEqual(first.id, second.id)
  await Promise.all([ended(first.id), ended(second.id)])
})

test('files that cannot be read or do not fit fail the job', async () => {
  const unreadable = await ended((await submit({ ...job, labels: import.meta.filename })).id)
  assert.match(String(unreadable['error']), /unsupported image format/)
  const misfit = await ended(
    (await submit({ labels, images: [{ channel: 'DNA', path: small }] })).id,
  )
  assert.equal(misfit['error'], 'DNA is 2 x 2 pixels, its labels are 120 x 100')
  assert.equal((await submit({ images: [] })).status, 400)
})

test('a full queue is 429', async () => {
  const answers = await Promise.all(Array.from({ length: 12 }, () => submit(job)))
  const accepted = answers.filter(({ status }) => status === 202)
  assert.ok(accepted.length >= 3 && accepted.length < 12, `${accepted.length} accepted`)
  assert.ok(answers.every(({ status }) => status === 202 || status === 429))
  await Promise.all(accepted.map(({ id }) => ended(id)))
})

test('a restart forgets jobs', async () => {
  const { id } = await submit(job)
  await program.stop()
  program = await startProgram('legacy/cellfeat-jobs/main.ts', environment)
  assert.equal((await get(`/jobs/${id}`)).status, 404)
})
