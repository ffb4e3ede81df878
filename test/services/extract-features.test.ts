import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { ExtractFeaturesService } from '#proto/wellspring/steps/features/v1/extract_features_pb.ts'
import { columnsOf, emptyTable } from '../../services/extract-features/table.ts'
import { writePng16 } from '../../services/legacy/pixels.ts'
import { refusal } from '../kit/support.ts'
import { startProgram, type Program } from './legacy/programs.ts'
import { csvRows } from './legacy/shared-data.ts'
import { synthetic } from './legacy/synthetic.ts'
import { artifactOf, pathOf, startWrapper, type Wrapper } from './wrappers.ts'

const { extractFeatures } = ExtractFeaturesService.method
const columns = columnsOf(['DNA'])

async function writeImages(folder: string): Promise<void> {
  const pixels = synthetic(120, 100, true)
  await writePng16(join(folder, 'image.png'), pixels)
  await writePng16(join(folder, 'small.png'), { ...synthetic(50, 50, true) })
  const labels = pixels.values.map((value, at) =>
    value > 1000 ? 1 + (Math.floor(at / 6000) % 2) : 0,
  )
  await writePng16(join(folder, 'labels.png'), { ...pixels, values: labels })
}

function extract(wrapper: Wrapper, labels: string | undefined, image = 'image.png') {
  return wrapper.call(extractFeatures, (context) => ({
    context,
    ...(labels === undefined ? {} : { labels: artifactOf(join(wrapper.folder, labels)) }),
    images: [{ channel: 'DNA', image: artifactOf(join(wrapper.folder, image)) }],
  }))
}

describe('with the program', () => {
  let program: Program
  let wrapper: Wrapper
  before(async () => {
    program = await startProgram('legacy/cellfeat-jobs/main.ts', { PORT: '0', LAG_MS: '50' })
    wrapper = await startWrapper('extract-features', { WELLSPRING_CELLFEAT_URL: program.url })
    await writeImages(wrapper.folder)
  })
  after(() => Promise.all([wrapper.stop(), program.stop()]))

  test('objects come as a table, the image as means over it', async () => {
    const answer = await extract(wrapper, 'labels.png')
    assert.equal(answer.objectCount, 2)
    assert.deepEqual(answer.columns, columns)
    const rows = csvRows(pathOf(answer.objects))
    assert.deepEqual(Object.keys(rows[0] ?? {}), columns)
    const areas = rows.map((row) => Number(row['AreaShape_Area']))
    const feature = (name: string) => answer.imageFeatures.find((f) => f.name === name)?.value
    assert.equal(feature('Count_Nuclei'), 2)
    assert.equal(feature('Mean_Nuclei_AreaShape_Area'), ((areas[0] ?? NaN) + (areas[1] ?? NaN)) / 2)
  })

  test('images that do not fit their labels are BAD_INPUT', async () => {
    const { info, details } = await refusal(extract(wrapper, 'labels.png', 'small.png'))
    assert.equal(info?.reason, 'BAD_INPUT')
    assert.match(details, /DNA is 50 x 50 pixels, its labels are 120 x 100/)
  })
})

describe('with a program that answers as told', () => {
  type Reply = { status: number; body: unknown }
  let reply: (request: IncomingMessage) => Reply = () => ({ status: 500, body: {} })
  let asked = 0
  let wrapper: Wrapper
  const server = createServer((request, response) => {
    asked++
    const { status, body } = reply(request)
    response.writeHead(status).end(typeof body === 'string' ? body : JSON.stringify(body))
  })
  before(async () => {
    server.listen(0, '127.0.0.1').unref()
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    wrapper = await startWrapper('extract-features', {
      WELLSPRING_CELLFEAT_URL: `http://127.0.0.1:${port}`,
    })
    await writeImages(wrapper.folder)
  })
  after(async () => {
    server.closeAllConnections()
    await wrapper.stop()
  })

  // Accepts the job, shows `states` one after the other, then gives `csv`.
  function job(states: Reply[], csv = ''): (request: IncomingMessage) => Reply {
    const left = [...states]
    return ({ method, url = '' }) => {
      if (method === 'POST') return { status: 202, body: { id: 'job-1' } }
      if (url.endsWith('/result')) return { status: 200, body: csv }
      return left.shift() ?? { status: 500, body: {} }
    }
  }
  const running = { status: 200, body: { state: 'running' } }
  const done = (rows: number) => ({ status: 200, body: { state: 'done', rows } })
  const row = `${columns.map(() => '1').join(',')}\n`
  const table = emptyTable(columns)

  test('an empty field asks nobody and has the same columns', async () => {
    asked = 0
    const answer = await extract(wrapper, undefined)
    assert.deepEqual([answer.objectCount, asked], [0, 0])
    assert.deepEqual(answer.columns, columns)
    assert.deepEqual(csvRows(pathOf(answer.objects)), [])
    assert.deepEqual(
      answer.imageFeatures.map(({ name, value }) => [name, value]),
      [['Count_Nuclei', 0]],
    )
  })

  test('a job that takes its time is polled to its end', async () => {
    reply = job([running, running, running, done(2)], table + row + row)
    assert.equal((await extract(wrapper, 'labels.png')).objectCount, 2)
  })

  const cases: [name: string, reply: typeof reply, reason: string, message: RegExp][] = [
    ['a forgotten job', job([running, { status: 404, body: {} }]), 'JOB_LOST', /does not know/],
    ['an expired job', job([{ status: 410, body: {} }]), 'JOB_LOST', /expired/],
    ['a full queue', () => ({ status: 429, body: {} }), 'BUSY', /full/],
    ['a server in trouble', () => ({ status: 500, body: {} }), 'BACKEND_DOWN', /500/],
    ['no JSON', () => ({ status: 200, body: 'hello' }), 'BACKEND_DOWN', /no JSON/],
    [
      'a dead worker',
      job([{ status: 200, body: { state: 'failed', error: 'worker died: x' } }]),
      'JOB_FAILED',
      /died/,
    ],
    ['a lost row', job([done(2)], table + row), 'SHORT_RESULT', /1 rows, announced 2/],
    ['a row cut short', job([done(1)], table + row.slice(0, -3)), 'SHORT_RESULT', /./],
    [
      'a lost column',
      job([done(0)], emptyTable(columns.toSpliced(4, 1))),
      'SHORT_RESULT',
      /AreaShape_Center_X/,
    ],
    [
      'an added column',
      job([done(0)], emptyTable([...columns, 'New'])),
      'SHORT_RESULT',
      /22 columns, expected 21/,
    ],
    ['nothing', job([done(1)], ''), 'SHORT_RESULT', /0 columns/],
  ]
  for (const [name, told, reason, message] of cases) {
    test(`${name}: ${reason}`, async () => {
      reply = told
      const { info, details } = await refusal(extract(wrapper, 'labels.png'))
      assert.equal(info?.reason, reason, details)
      assert.match(details, message)
    })
  }
})
