// Real plates from disk through the whole lab: the command line, real wrappers, legacy programs, to a clean audit.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { realSet } from '../ingest/data.ts'
import { csvRows } from '../services/legacy/shared-data.ts'
import { openLab, type Lab } from './lab.ts'

const sets = {
  bbbc039: realSet('bbbc039-u2os-nuclei'),
  imagexpress: realSet('imagexpress-9987-3434'),
  nf1: realSet('nf1-cell-painting'),
  opera: realSet('opera-phenix-br00121482'),
  broken: realSet('broken-files'),
}
const needs = Object.values(sets).find((set) => set.needs.skip !== false)?.needs ?? { skip: false }

/** The contract's attempt may take 20 s. */
const limits = { hostileFileMs: 10_000, imageqcKib: 1_536 * 1024 } as const

type Step = 'image-quality' | 'segment-nuclei' | 'extract-features' | 'well-profile'

type Result = {
  readonly entity: string
  readonly step: string
  readonly output: Readonly<Record<string, unknown>>
}

type Letter = {
  readonly entity: string
  readonly step: string
  readonly attempts: number
  readonly failure: { readonly reason: string; readonly message: string; readonly hint: string }
}

type Audit = {
  readonly planned: number
  readonly parked: number
  readonly refusedInputs: number
  readonly plates: readonly { plate: string; parked: number; holes: number; missing: number }[]
}

describe('real plates through the whole lab', { ...needs, timeout: 220_000 }, () => {
  let lab: Lab
  let audit: Audit
  let results: readonly Result[]
  let letters: readonly Letter[]

  const entitiesOf = (step: Step, experiment: string): string[] =>
    results
      .filter((result) => result.step === step && result.entity.startsWith(`${experiment}/`))
      .map(({ entity }) => entity)
      .toSorted()

  before(async () => {
    lab = await openLab()
    await lab.startCoordinator('c1')
    const quick = ['--quorum', '0.7', '--quorum-after', '3s', '--deadline', '6s']
    const mixed = await mixedPlate(lab.dir)
    for (const args of [
      [join(sets.bbbc039.path, 'images'), '--experiment', 'BBBC039', '--plate', 'UNREAD'],
      [sets.imagexpress.path, '--experiment', 'IX'],
      [join(sets.nf1.path, 'manifest.csv'), '--experiment', 'NF1'],
      [join(sets.opera.path, 'manifest.csv'), '--experiment', 'OPERA', '--channels', operaKinds],
      [mixed, '--experiment', 'MIXED'],
    ]) {
      const ran = await lab.cli('ingest', ...args, ...quick)
      assert.equal(ran.code, 0, ran.stderr)
    }
    const verified = await lab.cli('verify', '--wait', '150s', '-o', 'json')
    assert.equal(verified.code, 0, `${verified.stderr}\n${verified.stdout}`)
    audit = JSON.parse(verified.stdout) as Audit
    results = await lines<Result>(lab, 'results')
    letters = await lines<Letter>(lab, 'dead-letters')
  })
  after(() => lab?.close())

  test('every good image has its quality measured, every broken one and nothing else is a dead letter', () => {
    assert.equal(entitiesOf('image-quality', 'BBBC039').length, 22)
    assert.equal(entitiesOf('image-quality', 'IX').length, 36)
    assert.equal(entitiesOf('image-quality', 'NF1').length, 15)
    assert.equal(entitiesOf('image-quality', 'OPERA').length, 6)
    assert.deepEqual(
      entitiesOf('image-quality', 'MIXED'),
      goodRows.map(({ well }) => `MIXED/MIX/a1/${well}/t0/s1/z0/DAPI`),
    )
    const parked = letters.map(({ entity }) => entity).toSorted()
    assert.deepEqual(
      parked,
      brokenRows().map(({ entity }) => entity),
    )
    assert.deepEqual([audit.parked, audit.refusedInputs], [parked.length, 0])
  })

  test('every site, well and plate of good images has its results', () => {
    for (const [experiment, sites, wells] of [
      ['BBBC039', 22, 22],
      ['IX', 4, 2],
      ['NF1', 5, 5],
      ['OPERA', 1, 1],
    ] as const) {
      assert.equal(entitiesOf('segment-nuclei', experiment).length, sites, experiment)
      assert.equal(entitiesOf('extract-features', experiment).length, sites, experiment)
      assert.equal(entitiesOf('well-profile', experiment).length, wells, experiment)
    }
    const plates = results.filter(({ step }) => step === 'plate-quality')
    assert.deepEqual(
      plates.map(({ entity }) => entity).toSorted(),
      audit.plates.map(({ plate }) => plate).toSorted(),
      'a verdict on every plate, the broken one included',
    )
  })

  test('nuclei: median error at most 5 %, 90th percentile 12 %; empty fields count 0 and say so', () => {
    const found = new Map(
      results.filter(({ step }) => step === 'segment-nuclei').map((one) => [one.entity, one]),
    )
    const errors: number[] = []
    for (const row of csvRows(join(sets.bbbc039.path, 'expected_counts.csv'))) {
      const plate = row['barcode_in_tiff'] === 'NOCODE' ? 'UNREAD' : row['barcode_in_tiff']
      const site = `BBBC039/${plate}/a1/${row['well']}/t0/s${row['site']}`
      const output = found.get(site)?.output
      assert.ok(output, `${site} was counted`)
      const [truth, count] = [
        Number(row['nuclei_ground_truth']),
        Number(output['nucleiCount'] ?? 0),
      ]
      if (truth > 0) errors.push(Math.abs(count - truth) / truth)
      else {
        assert.equal(count, 0, `${site} is empty`)
        assert.equal(output['emptyField'], true, `${site} is flagged`)
        const image = results.find(({ entity }) => entity === `${site}/z0/w1`)
        assert.equal(image?.output['empty'], true, `the image of ${site} is flagged`)
      }
    }
    assert.equal(errors.length, 20, 'two of the 22 fields are empty')
    errors.sort((a, b) => a - b)
    const [median = 1, ninth = 1] = [errors[10], errors[17]]
    assert.ok(median <= 0.05 && ninth <= 0.12, `median, 90 % of ${errors.join(' ')}`)
  })

  test('every broken file is refused as its line in expected_outcomes.csv says, at the first attempt', () => {
    for (const { entity, file, outcome } of brokenRows()) {
      const letter = letters.find((one) => one.entity === entity)
      assert.ok(letter, `${file} is a dead letter`)
      assert.equal(letter.step, 'image-quality', file)
      assert.match(letter.failure.reason, reasonOf(outcome), `${file}: ${outcome}`)
      assert.notEqual(letter.failure.hint, '', file)
      assert.equal(letter.attempts, 1, `${file} is not tried again: the data will not change`)
    }
  })

  test('imagexpress: the twelve images of w4 that never came are holes by name', async () => {
    const ran = await lab.cli('plate', '9987', '-o', 'json')
    assert.equal(ran.code, 0, ran.stderr)
    const { status, holes } = JSON.parse(ran.stdout) as {
      status: Readonly<Record<string, unknown>>
      holes: readonly { entity: string; reason: string }[]
    }
    const missing = ['B02', 'B03'].flatMap((well) =>
      [1, 2].flatMap((site) =>
        [0, 1, 2].map((z) => `IX/9987/a1/${well}/t0/s${site}/z${z}/w4 NEVER_ARRIVED`),
      ),
    )
    assert.deepEqual(holes.map(({ entity, reason }) => `${entity} ${reason}`).toSorted(), missing)
    assert.deepEqual(
      [status['expected'], status['arrived'], status['done'], status['closedBy']],
      [48, 36, 36, 'CLOSED_BY_QUORUM'],
    )
  })

  test('a hostile file costs little time', async () => {
    for (const { entity, file, outcome } of brokenRows()) {
      if (!outcome.startsWith('reject within')) continue
      const ran = await lab.cli('why', entity, '-o', 'json')
      assert.equal(ran.code, 0, ran.stderr)
      const { runs } = JSON.parse(ran.stdout) as {
        runs: readonly { attempts: readonly { workMs: number }[] }[]
      }
      const workMs = runs[0]?.attempts[0]?.workMs ?? Infinity
      assert.ok(workMs < limits.hostileFileMs, `${file} took ${workMs} ms`)
    }
  })

  const needsProc = { skip: process.platform !== 'linux' && 'reads /proc' }
  test('no broken file made the program take much memory', needsProc, async () => {
    const peakKib = await lab.peakMemoryKib('imageqc-http')
    assert.ok(peakKib < limits.imageqcKib, `imageqc-http took ${peakKib} KiB`)
  })
})

/** The Opera's own index names them; its manifest does not. */
const operaKinds =
  'ch1=fluorescence,ch2=fluorescence,ch3=fluorescence,ch4=fluorescence,ch5=nuclei,ch6=brightfield'

const goodRows = ['D01', 'D02', 'D03'].map((well, at) => ({
  well,
  file: ['B7_01_1_3_DAPI_001.tif', 'D6_01_1_2_DAPI_001.tif', 'F7_01_1_2_DAPI_001.tif'][at] ?? '',
}))

type Broken = { readonly entity: string; readonly file: string; readonly outcome: string }

/** The broken files and what must become of each, one a well from C01. */
function brokenRows(): Broken[] {
  return csvRows(join(sets.broken.path, 'expected_outcomes.csv')).map((row, at) => ({
    entity: `MIXED/MIX/a1/C${String(at + 1).padStart(2, '0')}/t0/s1/z0/DAPI`,
    file: row['file'] ?? '',
    outcome: row['required_outcome'] ?? '',
  }))
}

/** A manifest of one plate, good images among the broken ones. */
async function mixedPlate(dir: string): Promise<string> {
  const rows = [
    ...goodRows.map(({ well, file }) => [join(sets.nf1.path, 'images', file), well]),
    ...brokenRows().map(({ entity, file }) => [
      join(sets.broken.path, file),
      entity.split('/')[3] ?? '',
    ]),
  ]
  const manifest = join(dir, 'mixed.csv')
  const text = rows.map(([path, well]) => `${path},MIX,${well},1,DAPI\n`).join('')
  await writeFile(manifest, `path,plate,well,site,channel\n${text}`)
  return manifest
}

/** The reasons that an outcome in the words of expected_outcomes.csv allows. */
function reasonOf(outcome: string): RegExp {
  if (outcome === 'reject: not an image') return /^NOT_AN_IMAGE$/
  if (outcome.startsWith('reject: truncated')) return /^TRUNCATED$/
  if (outcome === 'reject: corrupt') return /^CORRUPT$/
  if (outcome.startsWith('reject within'))
    return /^(LIMIT_EXCEEDED|NOT_AN_IMAGE|TRUNCATED|CORRUPT)$/
  throw new Error(`expected_outcomes.csv has a new outcome: "${outcome}"`)
}

async function lines<T>(lab: Lab, verb: string): Promise<T[]> {
  const ran = await lab.cli(verb, '-o', 'jsonl')
  assert.equal(ran.code, 0, ran.stderr)
  return ran.stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T)
}
