import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseHtd } from '../../ingest/htd.ts'
import { realSet } from './data.ts'

const imagexpress = realSet('imagexpress-9987-3434')

test(
  'the real HTD declares 2 wells, 2 sites, 3 z, 4 waves and a projection',
  imagexpress.needs,
  async () => {
    const htd = parseHtd(await readFile(join(imagexpress.path, '9987.HTD')))
    assert.deepEqual(htd.wells, ['B02', 'B03'])
    assert.deepEqual(htd.sitePlaces, [1, 2])
    assert.deepEqual([htd.rows, htd.columns, htd.timePoints, htd.zSteps], [8, 12, 1, 3])
    assert.equal(htd.projection, true)
    assert.deepEqual(
      htd.waves.map((wave) => wave.name),
      ['DAPI', 'FITC', 'Texas Red', 'Cy5'],
    )
  },
)

/** A 2 × 2 plate, one line replaced. */
function htdWith(changes: Readonly<Record<string, string | undefined>>): Uint8Array {
  const lines: Record<string, string | undefined> = {
    HTSInfoFile: 'Version 1.0',
    XWells: '2',
    YWells: '2',
    WellsSelection1: 'FALSE, TRUE',
    WellsSelection2: 'FALSE, FALSE',
    Sites: 'FALSE',
    Waves: 'FALSE',
    ...changes,
  }
  const text = Object.entries(lines).flatMap(([key, value]) =>
    value === undefined ? [] : [`"${key}", ${value}\r\n`],
  )
  return Buffer.from(text.join(''), 'latin1')
}

test('without sites, waves, z series and time points there is one of each', () => {
  const htd = parseHtd(htdWith({}))
  assert.deepEqual(htd.wells, ['A02'])
  assert.deepEqual([htd.sitePlaces, htd.timePoints, htd.zSteps], [[1], 1, 1])
  assert.deepEqual(htd.waves, [{ number: 1, name: '' }])
})

test('a wave that is not collected is not expected', () => {
  const waves = { Waves: 'TRUE', NWavelengths: '2', WaveName1: '"DAPI"', WaveName2: '"µ, Cy5"' }
  const both = parseHtd(htdWith(waves)).waves
  assert.deepEqual(both[1], { number: 2, name: 'µ, Cy5' })
  const one = parseHtd(htdWith({ ...waves, WaveCollect1: '0' })).waves
  assert.deepEqual(
    one.map((wave) => wave.number),
    [2],
  )
})

test('two acquisitions are told apart by their id, or by what is in the file', () => {
  const id = (changes: Record<string, string>): string => parseHtd(htdWith(changes)).uniqueId
  assert.equal(id({ UniquePlateIdentifier: '"6f0b"' }), '6f0b')
  assert.equal(id({}), id({}))
  assert.notEqual(id({}), id({ TimePoints: '2' }))
})

test('rows beyond Z are AA and on', () => {
  const rows = Object.fromEntries(
    Array.from({ length: 32 }, (_, row) => [
      `WellsSelection${row + 1}`,
      row === 31 ? 'TRUE, FALSE' : 'FALSE, FALSE',
    ]),
  )
  assert.deepEqual(parseHtd(htdWith({ YWells: '32', ...rows })).wells, ['AF01'])
})

const damaged: readonly [string, Record<string, string | undefined>, RegExp][] = [
  ['another file', { HTSInfoFile: undefined }, /does not begin with "HTSInfoFile"/],
  [
    'no well count',
    { XWells: undefined },
    /"XWells" should be a number from 1 to 48: it is missing/,
  ],
  ['an absurd well count', { YWells: '4000000' }, /"YWells"/],
  ['a missing row', { WellsSelection2: undefined }, /lacks "WellsSelection2" of 2/],
  ['no well selected', { WellsSelection1: 'FALSE, FALSE' }, /selects no well/],
]
for (const [what, changes, message] of damaged)
  test(`an HTD with ${what} is refused`, () => {
    assert.throws(() => parseHtd(htdWith(changes)), message)
  })
