import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { WellViewSchema, type WellView } from '#proto/wellspring/control/v1/control_pb.ts'
import { Verdict } from '#proto/wellspring/record/v1/output_pb.ts'
import { heatMap, plateFormat } from '../../cli/heatmap.ts'

const UTF8 = { colour: false, utf8: true } as const

function view(
  well: string,
  init: Pick<MessageInitShape<typeof WellViewSchema>, 'value' | 'worst'> = {},
  counts: { readonly done?: number; readonly missing?: number; readonly parked?: number } = {},
): WellView {
  const status = { entity: `E/P/a1/${well}/t0`, done: 1, ...counts }
  return create(WellViewSchema, { worst: Verdict.PASS, ...init, well, status })
}

const formats: readonly [string[], number, number][] = [
  [['A01'], 8, 12],
  [['B07'], 8, 12],
  [['H12'], 8, 12],
  [['A13'], 16, 24],
  [['P24'], 16, 24],
  [['Q01'], 32, 48],
  [['AF48'], 32, 48],
]
for (const [wells, rows, columns] of formats)
  test(`a plate with ${wells.join()} has ${rows} x ${columns} wells`, () => {
    assert.deepEqual(plateFormat(wells), { rows, columns })
  })

test('every kind of well looks different, empty places are blank', () => {
  const map = heatMap(
    [
      view('A01', { value: 100 }),
      view('A02', { value: 55, worst: Verdict.WARN }),
      view('A03', { value: 0, worst: Verdict.FAIL }),
      view('B01', { value: 10 }, { missing: 2 }),
      view('B02', { worst: Verdict.UNSPECIFIED }, { done: 0 }),
    ],
    UTF8,
  )
  assert.deepEqual(map.split('\n').slice(0, 4), [
    '     1  2  3  4  5  6  7  8  9 10 11 12',
    ' A 9✓ 5! 0✗',
    ' B 1◌  ·',
    ' C',
  ])
})

test('a parked run is told by its sign even where the images pass', () => {
  const map = heatMap([view('A01', { value: 5 }, { parked: 1 })], UTF8)
  assert.equal(map.split('\n')[1], ' A 9✗')
})

test('without UTF-8 signs are ASCII; colour adds, and never replaces', () => {
  const wells = [view('A01', { value: 5 }), view('A02', { value: 5, worst: Verdict.FAIL })]
  assert.equal(heatMap(wells, { colour: false, utf8: false }).split('\n')[1], ' A 9+ 9x')
  const coloured = heatMap(wells, { colour: true, utf8: true })
  // oxlint-disable-next-line no-control-regex
  assert.equal(coloured.replaceAll(/\u001b\[[0-9]+m/g, ''), heatMap(wells, UTF8))
  assert.notEqual(coloured, heatMap(wells, UTF8))
})

test('rows and columns of a 1,536-well plate are named to the last', () => {
  const lines = heatMap([view('AF48')], UTF8).split('\n')
  assert.equal(lines[0]?.endsWith('46 47 48'), true)
  assert.equal(lines[32]?.startsWith('AF'), true)
})
