// Kinds of images through the whole lab: what the command line refuses, what an instrument announces all the same, and
// a field of signed pixels beside the same field without.
import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { diceOf } from '../../dev/dice.ts'
import { SIZE_PX, drawField, placeNuclei } from '../../dev/field.ts'
import { announcePlate } from '../../ingest/announce.ts'
import { planOf } from '../../ingest/plan.ts'
import { resolveSurvey } from '../../ingest/resolve.ts'
import { survey } from '../../ingest/survey.ts'
import { refusedKinds } from '../formats/kinds.ts'
import { tiffFile } from '../formats/tiff-file.ts'
import { realSet } from '../ingest/data.ts'
import { openLab, type Lab } from './lab.ts'

const cases = { frames: realSet('cases/03-loaddata-frame'), pages: realSet('cases/04-multipage') }
const quick = ['--quorum', '0.5', '--quorum-after', '2s', '--deadline', '4s']
const signedZero = 32_768

type Line = {
  readonly entity: string
  readonly step: string
  readonly output: Readonly<Record<string, unknown>>
  readonly failure?: { readonly reason: string; readonly message: string; readonly hint: string }
}

const [size, nuclei] = [{ width: SIZE_PX, height: SIZE_PX }, placeNuclei(60, diceOf('kinds'))]
const plain = drawField(nuclei, { stain: 'DNA', blurPx: 0 }, diceOf('noise'))
const plainFile = tiffFile([{ ...size, samples: plain }])
const signedFile = tiffFile([{ ...size, samples: plain.map((value) => value + signedZero) }])
const stackFile = tiffFile([
  { width: 64, height: 64 },
  { width: 64, height: 64 },
])

/** Files of one plate, each a site of A01, with a manifest. */
async function plate(lab: Lab, name: string, files: readonly Buffer[]): Promise<string> {
  const folder = join(lab.dir, name)
  await mkdir(folder)
  for (const [i, file] of files.entries()) await writeFile(join(folder, `${i}.tif`), file)
  const rows = files.map((_, i) => `${i}.tif,${name},A01,${i},DNA\n`).join('')
  await writeFile(join(folder, 'm.csv'), `path,plate,well,site,channel\n${rows}`)
  return join(folder, 'm.csv')
}

/** As an instrument would, without a look at what kind the file is: site 0 is another file than ingest saw. */
async function announceUnseen(lab: Lab, manifest: string, path: string): Promise<void> {
  const { plates } = await resolveSurvey(await survey(manifest), { experiment: 'E' })
  const [one] = plates
  assert.ok(one)
  const images = one.images.map((image) =>
    image.identity.site === 0 ? { ...image, sighting: { ...image.sighting, path } } : image,
  )
  const completeness = { quorum: 0.5, quorumAfterMs: 2_000, deadlineMs: 4_000 }
  const announcer = {
    announce: (records: Parameters<typeof lab.client.produce>[0]) => lab.client.produce(records),
  }
  const options = { application: lab.application, author: 'microscope' }
  await announcePlate(planOf(one, completeness), images, announcer, options)
}

describe('kinds of images through the whole lab', { timeout: 200_000 }, () => {
  let lab: Lab
  let results: readonly Line[]
  let letters: readonly Line[]

  const ingest = (path: string, ...more: string[]) =>
    lab.cli('ingest', path, '--experiment', 'E', ...quick, ...more)
  const resultOf = (entity: string, step: string) => {
    const found = results.find((one) => one.entity === entity && one.step === step)
    return found?.output ?? assert.fail(`no ${step} of ${entity}`)
  }
  async function lines(verb: string): Promise<Line[]> {
    const { stdout } = await lab.cli(verb, '-o', 'jsonl')
    return stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Line]))
  }

  before(async () => {
    lab = await openLab()
    await lab.startCoordinator('c1')
    const good = [
      await ingest(await plate(lab, 'PLAIN', [plainFile])),
      await ingest(await plate(lab, 'SIGNED', [signedFile]), '--pixel-offset', 'DNA=32768'),
      await ingest(await plate(lab, 'UNSAID', [signedFile])),
    ]
    for (const { code, stderr } of good) assert.equal(code, 0, stderr)
    await writeFile(join(lab.dir, 'stack.tif'), stackFile)
    await announceUnseen(
      lab,
      await plate(lab, 'UNSEEN', [plainFile, plainFile]),
      join(lab.dir, 'stack.tif'),
    )
    const kinds = refusedKinds.filter((_, i) => i % 20 === 0).map(({ file }) => file)
    const mixed = await ingest(await plate(lab, 'MIXED', [plainFile, ...kinds]))
    assert.equal(mixed.code, 1)
    assert.equal(
      mixed.stderr.match(/^refused {2}m\.csv:\d+: unsupported kind, /gm)?.length,
      kinds.length,
    )
    if (cases.pages.needs.skip === false) {
      const pages = await ingest(join(cases.pages.path, 'manifest.csv'))
      assert.equal(pages.code, 1)
      assert.equal(pages.stderr.match(/more than one full page/g)?.length, 3)
      const frames = await ingest(join(cases.frames.path, 'load_data.csv'))
      assert.equal(frames.code, 1)
      assert.match(frames.stderr, /load_data\.csv:2 ER: Frame_ER is 1: only files of one plane/)
    }
    const audit = await lab.cli('verify', '--wait', '120s')
    assert.equal(audit.code, 0, `${audit.stderr}\n${audit.stdout}`)
    results = await lines('results')
    letters = await lines('dead-letters')
  })
  after(() => lab?.close())

  test('a stated offset gives the counts and features of the field without', () => {
    const [a, b] = ['PLAIN', 'SIGNED'].map((name) => `E/${name}/a1/A01/t0/s0`)
    for (const step of ['segment-nuclei', 'extract-features'] as const) {
      const [without, with_] = [resultOf(a ?? '', step), resultOf(b ?? '', step)]
      for (const name of ['nucleiCount', 'threshold', 'objectCount', 'imageFeatures'])
        assert.deepEqual(with_[name], without[name], `${step} ${name}`)
    }
    assert.ok(Math.abs(Number(resultOf(a ?? '', 'segment-nuclei')['nucleiCount']) - 60) <= 3)
    assert.deepEqual(
      resultOf(`${b}/z0/DNA`, 'image-quality')['intensity'],
      resultOf(`${a}/z0/DNA`, 'image-quality')['intensity'],
    )
  })

  test('an offset that nobody states is a failed verdict that says so', async () => {
    const { offset } = resultOf('E/UNSAID/a1/A01/t0/s0/z0/DNA', 'image-quality')
    assert.equal((offset as { suspected: boolean }).suspected, true)
    const { stdout } = await lab.cli('why', 'E/UNSAID/a1/A01/t0/s0/z0/DNA')
    assert.match(stdout, /FAIL/)
  })

  test('a stack that an instrument announces is set aside by its kind, and its plate closes', () => {
    const [letter, ...others] = letters
    assert.deepEqual(others, [])
    assert.equal(letter?.entity, 'E/UNSEEN/a1/A01/t0/s0/z0/DNA')
    assert.equal(letter.failure?.reason, 'UNSUPPORTED_KIND')
    assert.match(letter.failure.message, /more than one full page .*what is read: one full page/)
    assert.match(letter.failure.hint, /export it as one file a plane/)
    assert.ok(resultOf('E/UNSEEN/a1/A01/t0/s1', 'segment-nuclei'))
    assert.ok(resultOf('E/UNSEEN/a1', 'plate-quality'))
  })

  test('of a plate of many kinds the good image is measured, and the plate closes', () => {
    assert.ok(resultOf('E/MIXED/a1/A01/t0/s0', 'segment-nuclei'))
    assert.ok(resultOf('E/MIXED/a1', 'plate-quality'))
  })

  test(
    'real pages: plain, thumbnail first and pyramid have the same numbers where they hold the same',
    cases.pages.needs,
    () => {
      const of = (well: string) => resultOf(`E/PL4/a1/${well}/t0/s1/z0/DAPI`, 'image-quality')
      assert.deepEqual(of('D05')['intensity'], of('D01')['intensity'])
      assert.deepEqual([of('D05')['widthPx'], of('D06')['widthPx']], [96, 96])
      const measured = results.filter(
        ({ entity, step }) => entity.startsWith('E/PL4/') && step === 'image-quality',
      )
      assert.equal(measured.length, 3)
      const frames = results.filter(
        ({ entity, step }) => entity.startsWith('E/PL3/') && step === 'image-quality',
      )
      assert.deepEqual(frames, [], 'no number of one frame under the name of another')
    },
  )
})
