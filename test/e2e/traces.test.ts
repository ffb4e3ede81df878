// One plate through the whole lab, seen by a tracing backend: every entity has one whole trace, down to what the legacy
// programs say of it themselves, and spans.v1 holds the same.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Span_SpanKind as Kind } from '#proto/opentelemetry/proto/trace/v1/trace_pb.ts'
import { traceId } from '../../coordinator/core/keys.ts'
import type { Listening } from '../../coordinator/listen.ts'
import { receiveRequests } from '../trace/received.ts'
import { realSet } from '../ingest/data.ts'
import { openLab, type Lab } from './lab.ts'
import { orphansOf, rootsOf, seenIn, spansOf, type Seen } from './seen.ts'

const nf1 = realSet('nf1-cell-painting')
const broken = realSet('broken-files')
const needs = nf1.needs.skip === false ? broken.needs : nf1.needs

/** Wrappers hand over what they have every 200 ms. */
const spansWithinMs = 15_000

const ATTEMPTS: Readonly<Record<string, string>> = {
  'image-quality': 'wellspring.steps.imagequality.v1.ImageQualityService/AssessImage',
  'segment-nuclei': 'wellspring.steps.nuclei.v1.SegmentNucleiService/SegmentNuclei',
  'extract-features': 'wellspring.steps.features.v1.ExtractFeaturesService/ExtractFeatures',
  'well-profile': 'wellspring.steps.wellprofile.v1.WellProfileService/ProfileWell',
  'plate-quality': 'wellspring.steps.platequality.v1.PlateQualityService/AssessPlate',
}
const COORDINATOR = 'wellspring-coordinator'
const PLATE = 'TRACED/P1/a1'
const CHANNELS = ['DAPI', 'GFP', 'RFP'] as const

describe('traces of a plate through the whole lab', { ...needs, timeout: 200_000 }, () => {
  let lab: Lab
  let backend: Listening
  const spans: Seen[] = []
  const byId = new Map<string, Seen>()

  before(async () => {
    const listen = '127.0.0.1:0'
    backend = await receiveRequests(listen, (request) => void spans.push(...spansOf(request)))
    lab = await openLab({ otlpBackend: backend.address })
    await lab.startCoordinator('c1')
    const manifest = await plateWithOneBroken(lab.dir)
    const ran = await lab.cli('ingest', manifest, '--experiment', 'TRACED')
    assert.equal(ran.code, 0, ran.stderr)
    const verified = await lab.cli('verify', '--wait', '60s')
    assert.equal(verified.code, 0, `${verified.stderr}\n${verified.stdout}`)
    const endsMs = Date.now() + spansWithinMs
    while (!isAllThere(spans) && Date.now() < endsMs) await sleep(200)
    for (const span of spans) byId.set(`${span.trace}/${span.id}`, span)
  })
  after(async () => {
    await lab?.close()
    await backend?.close()
  })

  test('every image, site, well and plate has one trace with one root, and there are no others', () => {
    const expected = entities().map((entity) => [traceId(lab.application, entity, 1), entity])
    const names = new Map(expected.map(([trace = '', entity = '']) => [trace, entity]))
    const traces = new Set(spans.map(({ trace }) => names.get(trace) ?? trace))
    assert.deepEqual([...traces].toSorted(), entities().toSorted())
    const roots = rootsOf(spans)
    assert.deepEqual(
      roots.map(({ trace }) => names.get(trace) ?? trace).toSorted(),
      entities().toSorted(),
      'one root each',
    )
    for (const { service, name } of roots) {
      assert.equal(service, COORDINATOR)
      assert.match(name, /^(image|site|well|plate) screening$/)
    }
  })

  test('no span is an orphan, none came twice, and links between traces lead to roots', () => {
    assert.equal(byId.size, spans.length, 'none twice')
    assert.deepEqual(orphansOf(spans), [])
    const links = spans.flatMap((span) => span.links)
    // Three images a site, one site a well, three wells in the plate.
    assert.equal(links.length, 9 + 3 + 3)
    for (const link of links) assert.equal(byId.get(link)?.parent, '', link)
  })

  test("a wrapper's span is the child of the coordinator's attempt, a legacy span that of the wrapper's", () => {
    for (const [step, method] of Object.entries(ATTEMPTS)) {
      const attempts = spans.filter(
        ({ service, name }) => service === COORDINATOR && name === method,
      )
      assert.ok(attempts.length > 0, method)
      for (const attempt of attempts) {
        assert.equal(attempt.kind, Kind.CLIENT)
        const served = childrenOf(spans, attempt)
        assert.deepEqual(
          served.map(({ service, kind }) => [service, kind]),
          [[step, Kind.SERVER]],
          `one call by ${method}`,
        )
      }
    }
    const served = spans.filter(({ kind }) => kind === Kind.SERVER)
    for (const span of served) {
      const parent = byId.get(`${span.trace}/${span.parent}`)
      assert.deepEqual([parent?.service, parent?.kind], [COORDINATOR, Kind.CLIENT], span.name)
    }
    for (const [step, name, count] of [
      ['image-quality', 'legacy http assess', 9],
      ['segment-nuclei', 'legacy exec nucseg', 2],
      ['extract-features', 'legacy http cellfeat', 2],
    ] as const) {
      const legacy = spans.filter((span) => span.name === name)
      assert.equal(legacy.length, count, name)
      for (const span of legacy)
        assert.equal(byId.get(`${span.trace}/${span.parent}`)?.service, step, name)
    }
  })

  test('the legacy programs say the same trace ids in their own logs', async () => {
    for (const [program, name, pattern] of [
      ['imageqc-http', 'legacy http assess', /"url":"\/assess".*"traceparent":"([^"]*)"/],
      ['cellfeat-jobs', 'legacy http cellfeat', /"url":"\/jobs.*"traceparent":"([^"]*)"/],
      ['nucseg', 'legacy exec nucseg', /^Version: .* traceparent=(.*)$/],
    ] as const) {
      const said = (await lab.log(program)).flatMap((line) => pattern.exec(line)?.[1] ?? [])
      const sent = spans
        .filter((span) => span.name === name)
        .map(({ trace, id }) => `00-${trace}-${id}-01`)
      assert.deepEqual([...new Set(said)].toSorted(), sent.toSorted(), program)
    }
  })

  test('spans.v1 holds the same spans, each once', async () => {
    const kept = (await seenIn(lab.client)).map(({ trace, id }) => `${trace}/${id}`)
    assert.deepEqual(kept.toSorted(), [...byId.keys()].toSorted())
  })
})

/** Three wells of one site and three channels; the nuclei of C01 are a file that was cut short. */
async function plateWithOneBroken(dir: string): Promise<string> {
  const good = (file: string): string => join(nf1.path, 'images', file)
  const rows = [
    [good('B7_01_1_3_DAPI_001.tif'), 'A01', 'DAPI'],
    [good('B7_01_2_3_GFP_001.tif'), 'A01', 'GFP'],
    [good('B7_01_3_3_RFP_001.tif'), 'A01', 'RFP'],
    [good('D6_01_1_2_DAPI_001.tif'), 'B01', 'DAPI'],
    [good('D6_01_2_2_GFP_001.tif'), 'B01', 'GFP'],
    [good('D6_01_3_2_RFP_001.tif'), 'B01', 'RFP'],
    [join(broken.path, 'truncated-half-ifd-first.tif'), 'C01', 'DAPI'],
    [good('D7_01_2_1_GFP_001.tif'), 'C01', 'GFP'],
    [good('D7_01_3_1_RFP_001.tif'), 'C01', 'RFP'],
  ]
  const manifest = join(dir, 'traced.csv')
  const text = rows.map(([path, well, channel]) => `${path},P1,${well},1,${channel}\n`).join('')
  await writeFile(manifest, `path,plate,well,site,channel\n${text}`)
  return manifest
}

function entities(): string[] {
  const wells = ['A01', 'B01', 'C01'].map((well) => `${PLATE}/${well}/t0`)
  const sites = wells.map((well) => `${well}/s1`)
  const images = sites.flatMap((site) => CHANNELS.map((channel) => `${site}/z0/${channel}`))
  return [PLATE, ...wells, ...sites, ...images]
}

/** Every entity's root is there, and under every attempt the wrapper's span. */
function isAllThere(spans: readonly Seen[]): boolean {
  const methods = new Set(Object.values(ATTEMPTS))
  const attempts = spans.filter(({ kind, name }) => kind === Kind.CLIENT && methods.has(name))
  return (
    rootsOf(spans).length >= entities().length &&
    attempts.every((attempt) => childrenOf(spans, attempt).length > 0)
  )
}

function childrenOf(spans: readonly Seen[], { trace, id }: Seen): Seen[] {
  return spans.filter((span) => span.trace === trace && span.parent === id)
}
