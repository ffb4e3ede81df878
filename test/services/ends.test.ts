// Programs behind wrappers that end over an image: what their wrappers say of it.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { ExtractFeaturesService } from '#proto/wellspring/steps/features/v1/extract_features_pb.ts'
import { ImageQualityService } from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import { refusal } from '../kit/support.ts'
import { artifactOf, startWrapper, type Wrapper } from './wrappers.ts'

type Answer = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>

async function behind(
  t: TestContext,
  step: string,
  variable: string,
  answer: Answer,
): Promise<Wrapper> {
  const server = createServer((request, response) => void answer(request, response))
  server.listen(0, '127.0.0.1').unref()
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const wrapper = await startWrapper(step, { [variable]: `http://127.0.0.1:${port}` })
  t.after(async () => {
    server.closeAllConnections()
    server.close()
    await wrapper.stop()
  })
  writeFileSync(join(wrapper.folder, 'a.tif'), 'II*\0 not much of an image')
  return wrapper
}

async function markOf(answer: Promise<unknown>): Promise<[string | undefined, string | undefined]> {
  const { info } = await refusal(answer)
  return [info?.reason, info?.metadata['program_ended']]
}

test('an HTTP program that ends while it works: alone, and with another image in hand', async (t) => {
  const hung: ServerResponse[] = []
  let among = 1
  const wrapper = await behind(t, 'image-quality', 'WELLSPRING_IMAGEQC_URL', (_, response) => {
    hung.push(response)
    if (hung.length >= among) for (const one of hung.splice(0)) one.destroy()
  })
  const assess = (): Promise<unknown> =>
    wrapper.call(ImageQualityService.method.assessImage, (context) => ({
      context,
      image: artifactOf(join(wrapper.folder, 'a.tif')),
      channelKind: ChannelKind.NUCLEI,
    }))
  assert.deepEqual(await markOf(assess()), ['BACKEND_DOWN', 'alone'])
  among = 2
  assert.deepEqual(await Promise.all([markOf(assess()), markOf(assess())]), [
    ['BACKEND_DOWN', 'among-others'],
    ['BACKEND_DOWN', 'among-others'],
  ])
})

test('an HTTP program that is not there has not ended over anything', async (t) => {
  const wrapper = await startWrapper('image-quality', {
    WELLSPRING_IMAGEQC_URL: 'http://127.0.0.1:1',
  })
  t.after(() => wrapper.stop())
  const path = join(wrapper.folder, 'a.tif')
  writeFileSync(path, 'II*\0 not much of an image')
  const answer = wrapper.call(ImageQualityService.method.assessImage, (context) => ({
    context,
    image: artifactOf(path),
    channelKind: ChannelKind.NUCLEI,
  }))
  assert.deepEqual(await markOf(answer), ['BACKEND_DOWN', undefined])
})

type Job = readonly [
  string,
  (request: IncomingMessage, response: ServerResponse) => void,
  string,
  string | undefined,
]

const say = (status: number, body: object) => (_: IncomingMessage, response: ServerResponse) =>
  void response.writeHead(status).end(JSON.stringify(body))
const jobs: readonly Job[] = [
  ['forgets the job', say(404, {}), 'JOB_LOST', 'alone'],
  ['cuts the connection', (_, response) => void response.destroy(), 'BACKEND_DOWN', 'alone'],
  [
    'lost the worker of the job',
    say(200, { state: 'failed', error: 'worker died: 139' }),
    'JOB_FAILED',
    'alone',
  ],
  ['let the job expire', say(410, {}), 'JOB_LOST', undefined],
  ['is in trouble', say(500, {}), 'BACKEND_DOWN', undefined],
]
for (const [what, looked, reason, mark] of jobs)
  test(`a job queue that ${what}: ${reason}, ended ${mark ?? 'over nothing'}`, async (t) => {
    const wrapper = await behind(
      t,
      'extract-features',
      'WELLSPRING_CELLFEAT_URL',
      (request, response) => {
        if (request.method === 'POST') say(202, { id: 'job-1' })(request, response)
        else looked(request, response)
      },
    )
    const answer = wrapper.call(ExtractFeaturesService.method.extractFeatures, (context) => ({
      context,
      labels: artifactOf(join(wrapper.folder, 'a.tif')),
      images: [{ channel: 'DNA', image: artifactOf(join(wrapper.folder, 'a.tif')) }],
    }))
    assert.deepEqual(await markOf(answer), [reason, mark])
  })
