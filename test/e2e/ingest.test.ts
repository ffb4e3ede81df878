// Real plates from disk through the command line, a coordinator and the topics to a clean audit.
import assert from 'node:assert/strict'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, test } from 'node:test'
import type { Ran } from '../cli/process.ts'
import { wellspring } from '../cli/process.ts'
import { realSet } from '../ingest/data.ts'
import type { Stage } from './stage.ts'
import { openStage } from './stage.ts'

const sets = {
  imagexpress: realSet('imagexpress-9987-3434'),
  bbbc039: realSet('bbbc039-u2os-nuclei'),
  nf1: realSet('nf1-cell-painting'),
  opera: realSet('opera-phenix-br00121482'),
  broken: realSet('broken-files'),
}
const needs = Object.values(sets).find((set) => set.needs.skip !== false)?.needs ?? { skip: false }
const pipeline = 'echo-levels.ts'

type Lab = { readonly stage: Stage; readonly cli: (...args: string[]) => Promise<Ran> }

async function lab(): Promise<Lab> {
  const stage = await openStage({ pipeline, tasks: 2 })
  after(() => stage.close())
  const { ready } = await stage.coordinator('c1')
  const env = {
    KAFKA_BROKERS: stage.brokers.join(','),
    WELLSPRING_TOPIC_PREFIX: stage.topicPrefix,
    WELLSPRING_PIPELINE: resolve(import.meta.dirname, '../pipelines', pipeline),
    WELLSPRING_CONTROL: String(ready['control']),
  }
  return { stage, cli: (...args) => wellspring(args, env) }
}

/** One good image among the broken ones, each in a site of its own. */
async function mixed(): Promise<string> {
  const rows = [
    join(sets.nf1.path, 'images/B7_01_1_3_DAPI_001.tif'),
    ...['empty.tif', 'html-error-page.tif', 'pillow-oom-225817ca.tif'].map((name) =>
      join(sets.broken.path, name),
    ),
  ].map((path, at) => `${path},MIX,C0${at + 1},1,DAPI`)
  const file = join(await mkdtemp(join(tmpdir(), 'wellspring-mixed-')), 'mixed.csv')
  await writeFile(file, `path,plate,well,site,channel\n${rows.join('\n')}\n`)
  return file
}

test(
  'every real set goes in, what is missing closes as named holes, and nothing is lost',
  { ...needs, timeout: 120_000 },
  async () => {
    const { cli } = await lab()
    const quick = ['--experiment', 'E', '--quorum-after', '2s', '--deadline', '2s']
    const ingested = await Promise.all([
      cli('ingest', sets.imagexpress.path, ...quick),
      cli('ingest', join(sets.bbbc039.path, 'images'), '--plate', 'UNREAD', ...quick),
      cli('ingest', join(sets.nf1.path, 'manifest.csv'), ...quick),
      cli(
        'ingest',
        join(sets.opera.path, 'manifest.csv'),
        '--channels',
        'ch5=nuclei,ch6=brightfield',
        ...quick,
      ),
      cli('ingest', await mixed(), ...quick),
    ])
    for (const ran of ingested) assert.equal(ran.code, 0, ran.stderr)

    const verified = await cli('verify', '--wait', '60s', '-o', 'json')
    assert.equal(verified.code, 0, verified.stderr)
    const found = JSON.parse(verified.stdout) as {
      holes: number
      parked: number
      refusedInputs: number
      plates: { plate: string; planned: number; done: number; holes: number }[]
    }
    assert.deepEqual([found.parked, found.refusedInputs], [0, 0])
    const plate = (name: string) => found.plates.find((one) => one.plate === `E/${name}/a1`)
    // 36 of 48 images; 4 sites, 2 wells and the plate close over the 12 that Cy5 promised.
    assert.deepEqual(plate('9987'), {
      plate: 'E/9987/a1',
      planned: 55,
      done: 43,
      parked: 0,
      holes: 12,
      missing: 0,
    })
    assert.equal(found.holes, 12)
    assert.equal(plate('Plate_2')?.done, 15 + 5 + 5 + 1)
    assert.equal(plate('BR00121482')?.done, 6 + 1 + 1 + 1)
    assert.equal(plate('BR00021347')?.done, 3 + 3 + 3 + 1)
    assert.equal(plate('UNREAD')?.done, 8 + 8 + 8 + 1)
    assert.equal(plate('MIX')?.done, 4 + 4 + 4 + 1)

    const drawn = await cli('plate', '9987')
    assert.equal(drawn.code, 0, drawn.stderr)
    assert.match(drawn.stdout, /expected 48 {3}arrived 36 \(75\.0%\) {3}done 36 .* missing 12/)
    assert.match(drawn.stdout, /hole {2}NEVER_ARRIVED {2}12\n {6}B02\/t0\/s1\/z0\/w4/)
    const why = await cli('why', 'IXMtest_F12_s5_w17F3E9DFC-6705-40A9-B5FE-C60261D73052.tif')
    assert.equal(why.code, 0, why.stderr)
    assert.match(why.stdout, /^E\/BR00021347\/a1\/F12\/t0\/s5\/z0\/w1 .* image\n {2}file/)
    const twice = await cli('why', 'B7_01_1_3_DAPI_001.tif')
    assert.equal(twice.code, 2, 'the same file on two plates is ambiguous')

    const again = await cli('ingest', sets.imagexpress.path, ...quick)
    assert.equal(again.code, 0, again.stderr)
    // Each look is a process of its own; the test's time-out bounds them.
    let plateAgain = await cli('plate', '9987')
    while (!plateAgain.stdout.includes('duplicate 36')) plateAgain = await cli('plate', '9987')
    assert.match(plateAgain.stdout, /expected 48 {3}arrived 36 .* duplicate 36/)
    const still = await cli('verify')
    assert.equal(still.code, 0, still.stderr)
  },
)
