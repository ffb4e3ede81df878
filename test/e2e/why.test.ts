// What a person asks a running lab by the command line: why from a file's name, plates, wells, results, dead letters
// and redrive; over a coordinator that is killed in the middle.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { traceId } from '../../coordinator/core/keys.ts'
import type { Ran } from '../cli/process.ts'
import { realSet } from '../ingest/data.ts'
import { openLab, type Lab } from './lab.ts'
import { orphansOf, rootsOf, seenIn } from './seen.ts'

const nf1 = realSet('nf1-cell-painting')
const broken = realSet('broken-files')
const needs = nf1.needs.skip === false ? broken.needs : nf1.needs

const GOOD = 'B7_01_1_3_DAPI_001.tif'
const CUT_SHORT = 'truncated-half-ifd-first.tif'
const FIXED_LATER = 'H12_01_1_1_DAPI_001.tif'
const redrivenWithinMs = 30_000

type Run = {
  readonly step: string
  readonly state: string
  readonly generation: number
  readonly revision: number
  readonly attempts: readonly { number: number; workMs: number; replica: string }[]
  readonly failure?: { readonly reason: string; readonly hint: string }
}

type Explained = {
  readonly entity: string
  readonly state: string
  readonly traceId: string
  readonly uri: string
  readonly next: string
  readonly runs: readonly Run[]
  readonly time: Readonly<Record<string, number>>
}

type Items = { readonly items: readonly Readonly<Record<string, unknown>>[] }

describe('a running lab, asked by the command line', { ...needs, timeout: 200_000 }, () => {
  let lab: Lab

  async function ask(...args: string[]): Promise<string> {
    const ran = await lab.cli(...args)
    assert.equal(ran.code, 0, `${args.join(' ')}: ${ran.stderr}`)
    return ran.stdout
  }

  async function json<T>(...args: string[]): Promise<T> {
    return JSON.parse(await ask(...args, '-o', 'json')) as T
  }

  before(async () => {
    lab = await openLab()
  })
  after(() => lab?.close())

  test('killed with -9 in the middle of a plate: the next coordinator ends it, each result once', async () => {
    const first = await lab.startCoordinator('c1')
    await ask('ingest', await manifest(lab.dir, 'P1', P1), '--experiment', 'WHY')
    process.kill(first.pid, 'SIGKILL')
    await first.exited
    const early = await lab.cli('verify', '-o', 'json')
    assert.equal(early.code, 10, 'it was killed in the middle')
    const alone = await lab.cli('why', GOOD)
    assert.equal(alone.code, 5, 'nobody answers now')
    assert.match(alone.stderr, /is it running\?/)
    await lab.startCoordinator('c2')
    const found = await verified(lab.cli('verify', '--wait', '60s', '-o', 'json'))
    // Image, site and well of A01 to D01, and the plate: C01 is cut short, and nothing below it can run.
    assert.deepEqual(found, { planned: 17, done: 13, parked: 1, holes: 3 })
  })

  test('the traces are whole over the kill: one root for each entity, no orphan', async () => {
    const spans = await seenIn(lab.client)
    const roots = rootsOf(spans).map(({ trace }) => trace)
    const expected = entitiesOf('WHY/P1/a1', Object.keys(P1))
    assert.deepEqual(
      roots.toSorted(),
      expected.map((entity) => traceId(lab.application, entity, 1)).toSorted(),
    )
    assert.deepEqual(orphansOf(spans), [])
  })

  test("why, from an image's file name: the path it took, and where the time went", async () => {
    const text = await ask('why', GOOD)
    assert.match(text, /^WHY\/P1\/a1\/A01\/t0\/s1\/z0\/DAPI {2}✓ DONE {2}image\n/)
    assert.match(text, new RegExp(`\n  file   file:///.*/${GOOD}\n`))
    assert.match(text, /\n {2}✓ image-quality +DONE +revision 1 {2}\d+ attempts?/)
    assert.match(text, /\n {6}1 {2}work [\d.]+ s {2}queue [\d.]+ s {2}at 127\.0\.0\.1:\d+/)
    assert.match(text, /\n {2}next {3}\S/)
    assertSums(/\n {2}time {3}(.*)\n/.exec(text)?.[1] ?? '')
    const known = await json<Explained>('why', join(nf1.path, 'images', GOOD))
    assert.equal(known.entity, 'WHY/P1/a1/A01/t0/s1/z0/DAPI', 'a path says the same as a name')
    assert.equal(known.traceId, traceId(lab.application, known.entity, 1))
    const { wallMs = 0, ...parts } = known.time
    const sum = Object.values(parts).reduce((total, ms) => total + ms, 0)
    assert.ok(wallMs > 0 && Math.abs(sum - wallMs) < 1, JSON.stringify(known.time))
    const [run] = known.runs
    assert.deepEqual([run?.step, run?.state, run?.generation], ['image-quality', 'DONE', 1])
    assert.ok((run?.attempts.at(-1)?.workMs ?? 0) > 0)
  })

  test('why, of an image that is poison: the reason and what to do about it', async () => {
    const text = await ask('why', CUT_SHORT)
    assert.match(text, /^WHY\/P1\/a1\/C01\/t0\/s1\/z0\/DAPI {2}✗ PARKED {2}image\n/)
    assert.match(text, /\n {6}cause {2}POISON TRUNCATED: the decoder says: /)
    assert.match(text, /\n {6}hint {3}the file was announced cut short: copy it again/)
    assert.match(text, /\n.*npx wellspring redrive WHY\/P1\/a1\/C01\/t0\/s1\/z0\/DAPI/)
    const known = await json<Explained>('why', CUT_SHORT)
    assert.equal(known.state, 'PARKED')
    assert.equal(known.runs[0]?.failure?.reason, 'TRUNCATED')
  })

  test('why, of a name that nobody knows: not found', async () => {
    const ran = await lab.cli('why', 'B7_01_1_3_DAPI_002.tif')
    assert.equal(ran.code, 3, ran.stderr)
    assert.match(ran.stderr, /nothing here is called "B7_01_1_3_DAPI_002\.tif"/)
    assert.equal(ran.stdout, '')
  })

  test('plates, plate and well: counts, the hole by name, what to type next', async () => {
    assert.match(await ask('plates'), /\nWHY\/P1\/a1 +4 +4 +3 +1 +0 +1 +closed by all /)
    const text = await ask('plate', 'P1')
    assert.match(text, /^WHY\/P1\/a1 {2}closed by all, revision 1\n/)
    assert.match(text, /expected 4 {3}arrived 4 \(100\.0%\) {3}done 3 {3}failed 1 {3}missing 0/)
    assert.match(text, /\nhole +TRUNCATED at image-quality +1\n +C01\/t0\/s1\/z0\/DAPI\n/)
    assert.match(text, /\nnext: npx wellspring dead-letters WHY\/P1\/a1/)
    const good = await ask('well', 'P1/b1')
    assert.match(good, /^WHY\/P1\/a1\/B01\/t0 {2}✓ (DONE|CLOSED) {2}well\n/)
    assert.match(good, /\n {2}✓ well-profile +DONE/)
    const bad = await json<{ holes: readonly { entity: string; reason: string }[] }>(
      'well',
      'P1/C01',
    )
    const cause = bad.holes.find(({ reason }) => reason === 'TRUNCATED')
    assert.equal(cause?.entity, 'WHY/P1/a1/C01/t0/s1/z0/DAPI')
  })

  test('results and dead-letters, at or below an entity', async () => {
    const steps = await json<Items>('results', 'WHY/P1/a1/A01')
    assert.deepEqual(steps.items.map(({ step }) => step).toSorted(byText), [
      'extract-features',
      'image-quality',
      'segment-nuclei',
      'well-profile',
    ])
    assert.match(
      await ask('results', 'P1', '--step', 'segment-nuclei'),
      /^WHY\/P1\/a1\/[ABD]01\/t0\/s1\/segment-nuclei@screening-1#1 .*nucleiCount=\d+/,
    )
    const letters = await ask('dead-letters', 'P1')
    assert.match(letters, /^image-quality {2}POISON TRUNCATED {2}1\n {2}hint {2}the file was/)
    assert.match(letters, /\n {3}WHY\/P1\/a1\/C01\/t0\/s1\/z0\/DAPI /)
  })

  test('redrive: a run parked for a cause that was fixed is done with generation 2', async () => {
    await lab.breakNucseg(true)
    await ask('ingest', await manifest(lab.dir, 'P2', P2), '--experiment', 'WHY')
    const parked = await verified(lab.cli('verify', 'WHY/P2', '--wait', '30s', '-o', 'json'))
    assert.equal(parked.parked, 1)
    const site = 'WHY/P2/a1/H12/t0/s1'
    assert.match(
      await ask('dead-letters', 'P2'),
      /^segment-nuclei {2}PERMANENT BAD_ARGUMENTS {2}1\n {2}hint {2}the program's command line changed/,
    )

    await lab.breakNucseg(false)
    const where = ['--where', 'step=segment-nuclei,reason=BAD_ARGUMENTS']
    const driven = await ask('redrive', 'P2', ...where, '--reason', 'argument fixed', '-y')
    assert.match(driven, new RegExp(`^redriven 1 step run of 1 plate\n  ${site}/segment-nuclei`))
    assert.match(driven, /generation 1 -> 2 {2}BAD_ARGUMENTS/)

    const endsMs = Date.now() + redrivenWithinMs
    let known = await json<Explained>('why', 'WHY/P2/a1')
    while (known.runs.every(({ step, state }) => step !== 'plate-quality' || state !== 'DONE')) {
      assert.ok(Date.now() < endsMs, `not done in time: ${JSON.stringify(known)}`)
      await sleep(500)
      known = await json<Explained>('why', 'WHY/P2/a1')
    }
    const run = (await json<Explained>('why', site)).runs.find(
      ({ step }) => step === 'segment-nuclei',
    )
    assert.deepEqual([run?.state, run?.generation, run?.revision], ['DONE', 2, 1])
    assert.deepEqual(await verified(lab.cli('verify', 'WHY/P2', '--wait', '20s', '-o', 'json')), {
      planned: 5,
      done: 5,
      parked: 0,
      holes: 0,
    })
    assert.equal(await ask('dead-letters', 'P2'), 'nothing is parked\n')
  })
})

/** Good nuclei in A01, B01 and D01, a file that was cut short in C01. */
const P1 = {
  A01: join(nf1.path, 'images', GOOD),
  B01: join(nf1.path, 'images/D6_01_1_2_DAPI_001.tif'),
  C01: join(broken.path, CUT_SHORT),
  D01: join(nf1.path, 'images/F7_01_1_2_DAPI_001.tif'),
}
const P2 = { H12: join(nf1.path, 'images', FIXED_LATER) }

async function manifest(
  dir: string,
  plate: string,
  wells: Readonly<Record<string, string>>,
): Promise<string> {
  const rows = Object.entries(wells).map(([well, path]) => `${path},${plate},${well},1,DAPI\n`)
  const file = join(dir, `${plate}.csv`)
  await writeFile(file, `path,plate,well,site,channel\n${rows.join('')}`)
  return file
}

/** The plate, and of each well itself, its site and its image. */
function entitiesOf(plate: string, wells: readonly string[]): string[] {
  const below = wells.flatMap((well) =>
    ['', '/s1', '/s1/z0/DAPI'].map((part) => `${plate}/${well}/t0${part}`),
  )
  return [plate, ...below]
}

type Counts = { planned: number; done: number; parked: number; holes: number }

/** The counts of an audit that is clean. */
async function verified(running: Promise<Ran>): Promise<Counts> {
  const ran = await running
  assert.equal(ran.code, 0, `${ran.stderr}\n${ran.stdout}`)
  const { planned, done, parked, holes } = JSON.parse(ran.stdout) as Counts
  return { planned, done, parked, holes }
}

/** "1.23 s = work 1.00 s + queue 0.23 s": the parts sum to the whole, but for the rounding of each. */
function assertSums(time: string): void {
  const [whole, ...parts] = [...time.matchAll(/([\d.]+) s/g)].map(([, text]) => Number(text))
  assert.ok(whole !== undefined && parts.length >= 4, time)
  const sum = parts.reduce((total, seconds) => total + seconds, 0)
  assert.ok(Math.abs(sum - whole) < 0.1 * parts.length, time)
}

const byText = (a: unknown, b: unknown): number => String(a).localeCompare(String(b))
