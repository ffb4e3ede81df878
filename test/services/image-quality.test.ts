import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { ImageQualityService } from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import { refusal } from '../kit/support.ts'
import { startProgram, type Program } from './legacy/programs.ts'
import { csvRows, inData, needsData } from './legacy/shared-data.ts'
import { artifactOf, startWrapper, type Wrapper } from './wrappers.ts'

const { assessImage } = ImageQualityService.method

function assess(wrapper: Wrapper, path: string, channelKind: ChannelKind = ChannelKind.NUCLEI) {
  return wrapper.call(assessImage, (context) => ({
    context,
    image: artifactOf(path),
    channelKind,
    detectorCeiling: 4095,
  }))
}

describe('with the program', needsData, () => {
  let program: Program
  let wrapper: Wrapper
  before(async () => {
    program = await startProgram('legacy/imageqc-http/main.ts', { PORT: '0' })
    wrapper = await startWrapper('image-quality', { WELLSPRING_IMAGEQC_URL: program.url })
  })
  after(() => Promise.all([wrapper.stop(), program.stop()]))

  test('a field of BBBC039 is measured', async () => {
    const [row = {}] = csvRows(inData('bbbc039-u2os-nuclei/manifest.csv'))
    const answer = await assess(wrapper, inData('bbbc039-u2os-nuclei', row['path'] ?? ''))
    assert.deepEqual([answer.widthPx, answer.heightPx, answer.empty], [696, 520, false])
    const { intensity, focus, saturation } = answer
    assert.ok(Math.abs((intensity?.mean ?? NaN) - Number(row['mean'])) < 0.001)
    assert.ok(Math.abs((intensity?.standardDeviation ?? NaN) - Number(row['std'])) < 0.001)
    assert.deepEqual([intensity?.minimum, intensity?.maximum], [112, 3885])
    assert.ok((focus?.laplacianRatio ?? 0) > 0.0005 && (focus?.powerLogLogSlope ?? 0) < -2)
    assert.equal(saturation?.atCeiling, 0)
    assert.equal(answer.metricSet, 'imageqc-3')
  })

  test('a field without signal is empty in fluorescence, and never in brightfield', async () => {
    const [black = {}] = csvRows(inData('cv8000-black-plate/manifest.csv'))
    const path = inData('cv8000-black-plate', black['path'] ?? '')
    assert.equal((await assess(wrapper, path)).empty, true)
    assert.equal((await assess(wrapper, path, ChannelKind.UNSPECIFIED)).empty, true)
    assert.equal((await assess(wrapper, path, ChannelKind.BRIGHTFIELD)).empty, false)
  })

  test('every broken file is refused with its reason, within 3 s', async () => {
    const reasons: [RegExp, RegExp][] = [
      [/not an image/, /^NOT_AN_IMAGE$/],
      [/truncated/, /^TRUNCATED$/],
      [/corrupt/, /^CORRUPT$/],
      [/within a/, /^(NOT_AN_IMAGE|TRUNCATED|CORRUPT|LIMIT_EXCEEDED)$/],
    ]
    for (const row of csvRows(inData('broken-files/expected_outcomes.csv'))) {
      const [, reason] =
        reasons.find(([outcome]) => outcome.test(row['required_outcome'] ?? '')) ?? []
      assert.ok(reason !== undefined, row['required_outcome'])
      const start = performance.now()
      const { info } = await refusal(assess(wrapper, inData('broken-files', row['file'] ?? '')))
      assert.match(info?.reason ?? '', reason, row['file'])
      assert.equal(info?.metadata['class'], 'POISON')
      assert.ok(performance.now() - start < 3000, row['file'])
    }
  })

  test('a colour image is of another kind', async () => {
    const [row = {}] = csvRows(inData('bbbc039-u2os-nuclei/manifest.csv')).filter(
      (r) => r['mode'] === 'RGBA',
    )
    const { info } = await refusal(
      assess(wrapper, inData('bbbc039-u2os-nuclei', row['path'] ?? '')),
    )
    assert.equal(info?.reason, 'UNSUPPORTED_KIND')
  })
})

describe('with a program that answers as told', () => {
  const good = {
    width: 2,
    height: 2,
    mean: '1',
    median: 1,
    std: '0',
    mad: 0,
    min: 1,
    max: 1,
    var_over_mean: '0',
    at_ceiling: 0,
    percent_maximal: 100,
    laplacian_ratio: '0',
    power_slope: '0',
    flag: 'OK',
    version: 'told',
  }
  let wrapper: Wrapper
  let told: { status: number; body: unknown } = { status: 200, body: good }
  const server = createServer((_, response) => {
    response.writeHead(told.status).end(JSON.stringify(told.body))
  })
  before(async () => {
    server.listen(0, '127.0.0.1').unref()
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    wrapper = await startWrapper('image-quality', {
      WELLSPRING_IMAGEQC_URL: `http://127.0.0.1:${port}`,
    })
    writeFileSync(join(wrapper.folder, 'a.tif'), 'II*\0 not much of an image')
  })
  after(async () => {
    server.closeAllConnections()
    await wrapper.stop()
  })

  test('its answers become the contract’s reasons', async () => {
    const path = join(wrapper.folder, 'a.tif')
    assert.equal((await assess(wrapper, path)).metricSet, 'told')
    const cases: [number, unknown, string, string][] = [
      [503, { error: 'busy' }, 'BUSY', 'OVERLOADED'],
      [500, {}, 'BACKEND_DOWN', 'RETRYABLE'],
      [200, { error: 'file not found: a.tif' }, 'ARTIFACT_NOT_READY', 'RETRYABLE'],
      [200, { error: 'unknown channel kind: x' }, 'BAD_ANSWER', 'PERMANENT'],
      [200, { ...good, mean: 'much' }, 'BAD_ANSWER', 'PERMANENT'],
      [200, { ...good, std: null }, 'BAD_ANSWER', 'PERMANENT'],
      [200, [], 'BAD_ANSWER', 'PERMANENT'],
      [422, { error: 'the decoder passed its memory limit of 9 MiB' }, 'LIMIT_EXCEEDED', 'POISON'],
    ]
    for (const [status, body, reason, errorClass] of cases) {
      told = { status, body }
      const { info, retry } = await refusal(assess(wrapper, path))
      assert.deepEqual(
        [info?.reason, info?.metadata['class']],
        [reason, errorClass],
        JSON.stringify(body),
      )
      assert.equal(retry !== undefined, reason === 'BUSY')
    }
    server.closeAllConnections()
    server.close()
    const { info } = await refusal(assess(wrapper, path))
    assert.equal(info?.reason, 'BACKEND_DOWN')
  })
})
