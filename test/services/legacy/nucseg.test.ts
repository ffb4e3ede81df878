import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { readPixels } from '../../../services/legacy/pixels.ts'
import { segmentNuclei, type Nucleus } from '../../../services/legacy/nucseg/segment.ts'
import { csvRows, inData, needsData } from './shared-data.ts'

const program = resolve(import.meta.dirname, '../../../services/legacy/nucseg/main.ts')

async function nucleiOf(...path: string[]): Promise<readonly Nucleus[]> {
  const field = segmentNuclei(await readPixels(inData(...path)))
  return field.kind === 'empty' ? [] : field.nuclei
}

describe('counting', needsData, () => {
  test('BBBC039: median error at most 4 %, 90th percentile at most 12 %, empty fields empty', async () => {
    const errors: number[] = []
    for (const row of csvRows(inData('bbbc039-u2os-nuclei', 'expected_counts.csv'))) {
      const truth = Number(row['nuclei_ground_truth'])
      const { length: count } = await nucleiOf('bbbc039-u2os-nuclei', row['image'] ?? '')
      if (truth === 0) assert.equal(count, 0, row['image'])
      else errors.push(Math.abs(count - truth) / truth)
    }
    errors.sort((a, b) => a - b)
    assert.equal(errors.length, 20)
    const [middle = NaN, nearWorst = NaN] = [errors[10], errors[18]]
    assert.ok(middle <= 0.04 && nearWorst <= 0.12, `median ${middle}, 90th percentile ${nearWorst}`)
  })

  test('NF1: nuclei that do not touch the border, which its masks leave out, within 2', async () => {
    for (const row of csvRows(inData('nf1-cell-painting', 'expected_nuclei.csv'))) {
      const nuclei = await nucleiOf('nf1-cell-painting', row['image'] ?? '')
      const inside = nuclei.filter((n) => n.minX > 0 && n.minY > 0 && n.maxX < 1224 && n.maxY < 904)
      const truth = Number(row['nuclei_components'])
      assert.ok(
        Math.abs(inside.length - truth) <= 2,
        `${row['image']}: ${inside.length}, not ${truth}`,
      )
    }
  })

  test('ExampleHuman: 289 nuclei within 8 %; Opera: 3 nuclei; CV8000: black, so empty', async () => {
    const [human, opera, black] = await Promise.all([
      nucleiOf('examplehuman-cellprofiler/images/AS_09125_050116030001_D03f00d0.tif'),
      nucleiOf('opera-phenix-br00121482/Images/r01c01f01p01-ch5sk1fk1fl1.tiff'),
      nucleiOf(
        'cv8000-black-plate',
        csvRows(inData('cv8000-black-plate/manifest.csv'))[0]?.['path'] ?? '',
      ),
    ])
    assert.ok(Math.abs(human.length - 289) <= 0.08 * 289, `ExampleHuman: ${human.length}`)
    assert.equal(opera.length, 3)
    assert.equal(black.length, 0)
  })

  test('a field of 520 by 696 takes at most 0.25 s', async () => {
    const field = csvRows(inData('bbbc039-u2os-nuclei', 'expected_counts.csv'))[18]?.['image'] ?? ''
    const image = await readPixels(inData('bbbc039-u2os-nuclei', field))
    const times = Array.from({ length: 5 }, () => {
      const start = process.cpuUsage()
      segmentNuclei(image)
      const { user, system } = process.cpuUsage(start)
      return (user + system) / 1e6
    })
    assert.ok(Math.min(...times) <= 0.25, `best of five: ${Math.min(...times)} s`)
  })
})

describe('the command line', () => {
  let folder = ''
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'nucseg-test-'))
  })
  after(() => rmSync(folder, { recursive: true }))

  function nucseg(...args: string[]) {
    const env = { ...process.env, TMPDIR: folder, TRACEPARENT: '00-test' }
    const { status, stderr } = spawnSync(process.execPath, [program, ...args], {
      env,
      encoding: 'utf8',
    })
    return { status, stderr, done: existsSync(join(folder, 'done')) && readDone() }
  }
  function readDone(): string {
    const word = readFileSync(join(folder, 'done'), 'utf8').trim()
    rmSync(join(folder, 'done'))
    return word
  }
  const outputs = () => ['-o', folder, '-d', join(folder, 'done')]

  test('writes tables and labels that agree, and says so in the done file', needsData, async () => {
    const image = inData(
      'bbbc039-u2os-nuclei',
      csvRows(inData('bbbc039-u2os-nuclei/expected_counts.csv'))[0]?.['image'] ?? '',
    )
    const { status, stderr, done } = nucseg('-i', image, ...outputs())
    assert.deepEqual([status, done], [0, 'Complete'], stderr)
    assert.match(stderr, /Traceback[^]*traceparent|traceparent=00-test/)
    const [summary] = csvRows(join(folder, 'Image.csv'))
    const nuclei = csvRows(join(folder, 'Nuclei.csv'))
    const { values } = await readPixels(join(folder, 'Nuclei_labels.png'))
    const areas = new Map<number, number>()
    for (const label of values) areas.set(label, (areas.get(label) ?? 0) + 1)
    assert.equal(Number(summary?.['Count_Nuclei']), nuclei.length)
    assert.equal(areas.size, nuclei.length + 1)
    for (const row of nuclei) {
      assert.equal(areas.get(Number(row['ObjectNumber'])), Number(row['AreaShape_Area']))
    }
  })

  test('an empty field is exit code 3, and no label image', needsData, () => {
    const empty = csvRows(inData('bbbc039-u2os-nuclei/expected_counts.csv')).find(
      (row) => row['nuclei_ground_truth'] === '0',
    )
    rmSync(join(folder, 'Nuclei_labels.png'), { force: true })
    const { status, done } = nucseg(
      '-i',
      inData('bbbc039-u2os-nuclei', empty?.['image'] ?? ''),
      ...outputs(),
    )
    assert.deepEqual([status, done], [3, 'Complete'])
    assert.equal(csvRows(join(folder, 'Image.csv'))[0]?.['Count_Nuclei'], '0')
    assert.equal(csvRows(join(folder, 'Nuclei.csv')).length, 0)
    assert.equal(existsSync(join(folder, 'Nuclei_labels.png')), false)
  })

  test('an unreadable image is exit code 2 and Failure; bad arguments leave no done file', () => {
    const unreadable = nucseg('-i', program, ...outputs())
    assert.deepEqual([unreadable.status, unreadable.done], [2, 'Failure'])
    assert.match(unreadable.stderr, /unsupported image format/)
    const refused = nucseg('-i', program)
    assert.deepEqual([refused.status, refused.done], [2, false])
    assert.match(refused.stderr, /usage: nucseg/)
  })

  test('an output that cannot be written is exit code 1 and Failure', needsData, () => {
    const image = inData('examplehuman-cellprofiler/images/AS_09125_050116030001_D03f00d0.tif')
    const { status, done } = nucseg('-i', image, '-o', '/proc', '-d', join(folder, 'done'))
    assert.deepEqual([status, done], [1, 'Failure'])
  })
})
