import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { SegmentNucleiService } from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import { readPixels } from '../../services/legacy/pixels.ts'
import { refusal } from '../kit/support.ts'
import { csvRows, inData, needsData } from './legacy/shared-data.ts'
import { artifactOf, pathOf, startWrapper, type Wrapper } from './wrappers.ts'

const { segmentNuclei } = SegmentNucleiService.method

function segment(wrapper: Wrapper, path: string) {
  return wrapper.call(segmentNuclei, (context) => ({ context, nucleiImage: artifactOf(path) }))
}

describe('with the program', needsData, () => {
  let wrapper: Wrapper
  before(async () => {
    wrapper = await startWrapper('segment-nuclei')
  })
  after(() => wrapper.stop())

  const field = (truth: (count: number) => boolean) => {
    const rows = csvRows(inData('bbbc039-u2os-nuclei/expected_counts.csv'))
    const row = rows.find(({ nuclei_ground_truth: count }) => truth(Number(count))) ?? {}
    return inData('bbbc039-u2os-nuclei', row['image'] ?? '')
  }

  test('a field of 187 nuclei: count, labels and table agree', async () => {
    const answer = await segment(
      wrapper,
      field((count) => count === 187),
    )
    assert.ok(Math.abs(answer.nucleiCount - 187) <= 19, `${answer.nucleiCount}`)
    assert.equal(csvRows(pathOf(answer.table)).length, answer.nucleiCount)
    const { values } = await readPixels(pathOf(answer.labels))
    assert.equal(
      values.reduce((a, b) => Math.max(a, b)),
      answer.nucleiCount,
    )
    assert.ok(answer.threshold > 118 && answer.threshold < 814, `${answer.threshold}`)
    assert.ok(answer.foregroundFraction > 0.05 && answer.foregroundFraction < 0.6)
    assert.ok(answer.medianAreaPx > 100 && answer.touchingBorder > 0)
    assert.equal(answer.emptyField, false)
    assert.deepEqual(
      readdirSync(join(wrapper.folder, 'store', '.tmp')),
      [],
      'temporary files are gone',
    )
  })

  test('an empty field is a result: no nuclei, no labels, a table without rows', async () => {
    const { emptyField, nucleiCount, labels, table } = await segment(
      wrapper,
      field((count) => count === 0),
    )
    assert.deepEqual([emptyField, nucleiCount, labels], [true, 0, undefined])
    assert.match(readFileSync(pathOf(table), 'utf8'), /^ImageNumber,ObjectNumber,[^\n]+\n$/)
  })

  test('an unreadable image is BAD_INPUT with the program’s words', async () => {
    const { info, details } = await refusal(
      segment(wrapper, inData('broken-files/bitrot-lzw-strip.tif')),
    )
    assert.equal(info?.reason, 'BAD_INPUT')
    assert.match(details, /Using code not yet in table/)
  })
})

// A program that does what the image's own text says: the image is a shell script.
describe('with a program that lies', () => {
  let wrapper: Wrapper
  let removeLiar = () => {}
  before(async () => {
    const folder = mkdtempSync(join(tmpdir(), 'liar-'))
    writeFileSync(join(folder, 'liar.sh'), 'O="$4"; D="$6"; . "$2"\n') // -i IMAGE -o DIR -d DONE
    wrapper = await startWrapper('segment-nuclei', {
      WELLSPRING_NUCSEG: `/bin/sh ${join(folder, 'liar.sh')}`,
    })
    removeLiar = () => rmSync(folder, { recursive: true })
  })
  after(async () => {
    await wrapper.stop()
    removeLiar()
  })

  const image =
    'ImageNumber,Count_Nuclei,Width_DNA,Height_DNA,Threshold_FinalThreshold_Nuclei,AreaOccupied_AreaOccupied_Nuclei,AreaOccupied_TotalArea_Nuclei,Median_Nuclei_AreaShape_Area'
  const cases: [name: string, script: string, reason: string, message: RegExp][] = [
    ['crash', 'echo Traceback: boom >&2; exit 1', 'CRASHED', /exit code 1: Traceback: boom/],
    ['killed', 'kill -9 $$', 'CRASHED', /killed/],
    ['odd exit code', 'exit 139', 'CRASHED', /exit code 139/],
    ['bad arguments', 'echo usage >&2; exit 2', 'BAD_ARGUMENTS', /usage/],
    ['bad input', 'echo Failure > "$D"; exit 2', 'BAD_INPUT', /exit code 2/],
    ['success without a done file', 'exit 0', 'INCOMPLETE_OUTPUT', /done file "missing"/],
    [
      'success with a done file of failure',
      'echo Failure > "$D"',
      'INCOMPLETE_OUTPUT',
      /"Failure"/,
    ],
    ['success without tables', 'echo Complete > "$D"', 'INCOMPLETE_OUTPUT', /Image.csv/],
    [
      'fewer rows than counted',
      `printf '${image}\\n1,2,4,4,9,3,16,3\\n' > "$O/Image.csv"; printf 'ImageNumber,ObjectNumber\\n1,1\\n' > "$O/Nuclei.csv"; echo Complete > "$D"`,
      'INCOMPLETE_OUTPUT',
      /1 rows, Image.csv counts 2/,
    ],
    [
      'a pipe for a table',
      `mkfifo "$O/Image.csv"; echo Complete > "$D"`,
      'INCOMPLETE_OUTPUT',
      /Image.csv: it is no regular file/,
    ],
    [
      'a table of eight terabytes',
      `truncate -s 4T "$O/Image.csv"; echo Complete > "$D"`,
      'INCOMPLETE_OUTPUT',
      /Image.csv has more than \d+ bytes/,
    ],
    [
      'a link to a table of somebody else',
      `printf '${image}\\n1,1,4,4,9,3,16,3\\n' > "$O/../else"; ln -s "$O/../else" "$O/Image.csv"; echo Complete > "$D"`,
      'INCOMPLETE_OUTPUT',
      /Image.csv: it is no regular file/,
    ],
    ['a pipe for a done file', `mkfifo "$D"`, 'INCOMPLETE_OUTPUT', /done file "missing"/],
    [
      'a row cut short',
      `printf '${image}\\n1,1,4,4,9,3,16,3\\n' > "$O/Image.csv"; printf 'ImageNumber,ObjectNumber\\n1' > "$O/Nuclei.csv"; echo Complete > "$D"`,
      'INCOMPLETE_OUTPUT',
      /./,
    ],
    [
      'no label image',
      `printf '${image}\\n1,1,4,4,9,3,16,3\\n' > "$O/Image.csv"; printf 'ImageNumber,ObjectNumber\\n1,1\\n' > "$O/Nuclei.csv"; echo Complete > "$D"`,
      'INCOMPLETE_OUTPUT',
      /Nuclei_labels.png/,
    ],
  ]
  for (const [name, script, reason, message] of cases) {
    test(`${name}: ${reason}`, async () => {
      const path = join(wrapper.folder, `${reason}.sh`)
      writeFileSync(path, `${script}\n`)
      const { info, details } = await refusal(segment(wrapper, path))
      assert.equal(info?.reason, reason, details)
      assert.match(details, message)
      // A program of its own that ended: an image that does so each time is found out.
      assert.equal(info?.metadata['program_ended'], reason === 'CRASHED' ? 'alone' : undefined)
    })
  }
})
