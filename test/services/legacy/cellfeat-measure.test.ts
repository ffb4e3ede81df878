import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parse } from 'csv-parse/sync'
import { tableOf } from '../../../services/legacy/cellfeat-jobs/measure.ts'
import { shapeColumns } from '../../../services/legacy/cellfeat-jobs/shape.ts'
import { segmentNuclei } from '../../../services/legacy/nucseg/segment.ts'
import { readPixels, type Pixels } from '../../../services/legacy/pixels.ts'
import { csvRows, inData, needsData } from './shared-data.ts'

const size = { widthPx: 120, heightPx: 90 }

/** Two ellipses, an L, a square, a line and a point. */
function shapes(): Pixels {
  const values = new Uint16Array(size.widthPx * size.heightPx)
  values.forEach((_, at) => {
    const x = at % size.widthPx
    const y = Math.floor(at / size.widthPx)
    const u = (x - 80) * 0.8 + (y - 30) * 0.6
    const v = -(x - 80) * 0.6 + (y - 30) * 0.8
    if (((x - 25) / 14) ** 2 + ((y - 20) / 8) ** 2 <= 1) values[at] = 1
    if ((u / 22) ** 2 + (v / 7) ** 2 <= 1) values[at] = 2
    if (y >= 50 && y < 80 && x >= 5 && x < (y >= 73 ? 40 : 12)) values[at] = 3
    if (y >= 60 && y < 80 && x >= 70 && x < 90) values[at] = 4
    if (y === 85 && x >= 100 && x < 103) values[at] = 5
    if (y === 88 && x === 110) values[at] = 6
  })
  return { ...size, values, bitsPerPixel: 16 }
}

// In the order of shapeColumns; by regionprops of scikit-image on the same labels (orientation in degrees).
const scikitImage = [
  [
    345, 493, 25, 20, 0.826216689967262, 20.958712816717327, 0.6997971602434077, 0.7929701607978213,
    27.93449895530718, 15.736968383810252, 90, 73.94112549695429, 0.9249329758713136,
  ],
  [
    485, 1073, 80, 30, 0.9498195038745793, 24.849973424463737, 0.45200372786579684,
    0.6109068011576371, 44.422452270798615, 13.895277037156935, 53.004053488902436,
    99.88225099390857, 0.9603960396039604,
  ],
  [
    406, 1050, 16.448275862068964, 70.05172413793103, 0.8576040976184885, 22.736210219877808,
    0.38666666666666666, 0.32437126857260107, 48.21756923423257, 24.79879845427509,
    54.938349631456504, 125.41421356237309, 0.5662482566248257,
  ],
  [
    400, 400, 79.5, 69.5, 0, 22.56758334191025, 1, 0.8702472724625466, 23.065125189341593,
    23.065125189341593, -45, 76, 1,
  ],
  [3, 3, 101, 85, 1, 1.9544100476116797, 1, 37.69911184307752, 3.265986323710904, 0, 90, 1, 1],
  [1, 1, 110, 88, 0, 1.1283791670955126, 1, NaN, 0, 0, -45, 0, 1],
]

function rowsOf(csv: string): Record<string, string>[] {
  return parse(csv, { columns: true })
}

test('shapes agree with scikit-image', () => {
  const { csv, rows } = tableOf(shapes(), [])
  assert.equal(rows, scikitImage.length)
  rowsOf(csv).forEach((row, i) => {
    shapeColumns.forEach((column, k) => {
      const expected = scikitImage[i]?.[k] ?? NaN
      const text = row[column] ?? ''
      if (Number.isNaN(expected)) assert.equal(text, 'nan')
      else
        assert.ok(
          Math.abs(Number(text) - expected) < 1e-6,
          `object ${i + 1} ${column}: ${text}, not ${expected}`,
        )
    })
  })
})

test('intensities are shares of the pixel type’s maximum', () => {
  const labels: Pixels = {
    values: Uint16Array.from([7, 7, 0, 7, 7, 9]),
    widthPx: 3,
    heightPx: 2,
    bitsPerPixel: 16,
  }
  const image: Pixels = {
    ...labels,
    values: Uint16Array.from([51, 102, 255, 153, 204, 255]),
    bitsPerPixel: 8,
  }
  const rows = rowsOf(tableOf(labels, [{ channel: 'DNA', image }]).csv)
  assert.deepEqual(
    rows.map((row) => row['ObjectNumber']),
    ['7', '9'],
  )
  const [first = {}] = rows
  const of = (name: string) => Number(Number(first[`Intensity_${name}Intensity_DNA`]).toFixed(12))
  const measured = ['Integrated', 'Max', 'Mean', 'Median', 'Min'].map(of)
  assert.deepEqual(measured, [2, 0.8, 0.5, 0.5, 0.2])
  assert.equal(of('Std'), Number(Math.sqrt(0.05).toFixed(12)))
})

test('no objects: a header alone', () => {
  const labels: Pixels = { values: new Uint16Array(4), widthPx: 2, heightPx: 2, bitsPerPixel: 16 }
  assert.match(tableOf(labels, []).csv, /^ImageNumber,ObjectNumber,AreaShape_Area,[^\n]+\n$/)
})

test('ExampleHuman: CellProfiler’s own columns obey the formulas used here', needsData, () => {
  for (const row of csvRows(inData('examplehuman-cellprofiler/expected/Nuclei.csv'))) {
    const of = (name: string) => Number(row[`AreaShape_${name}`])
    const ratio = of('MinorAxisLength') / of('MajorAxisLength')
    const close = (a: number, b: number, what: string) =>
      assert.ok(Math.abs(a - b) < 1e-6 * Math.abs(b) + 1e-9, what)
    close(Math.sqrt(1 - ratio ** 2), of('Eccentricity'), 'Eccentricity')
    close((4 * Math.PI * of('Area')) / of('Perimeter') ** 2, of('FormFactor'), 'FormFactor')
    close(of('Area') / of('BoundingBoxArea'), of('Extent'), 'Extent')
    close(Math.sqrt((4 * of('Area')) / Math.PI), of('EquivalentDiameter'), 'EquivalentDiameter')
  }
})

test(
  'ExampleHuman: nuclei found at the published places have the published size and light',
  needsData,
  async () => {
    const image = await readPixels(
      inData('examplehuman-cellprofiler/images/AS_09125_050116030001_D03f00d0.tif'),
    )
    const field = segmentNuclei(image)
    assert.ok(field.kind === 'nuclei')
    const { csv } = tableOf({ ...image, values: field.labels, bitsPerPixel: 16 }, [
      { channel: 'DNA', image },
    ])
    const ours = rowsOf(csv)
    const published = csvRows(inData('examplehuman-cellprofiler/expected/Nuclei.csv'))
    const at = (row: Record<string, string>, axis: string) =>
      Number(row[`AreaShape_Center_${axis}`])
    const pairs = published.flatMap((theirs) => {
      const near = ours.find(
        (row) => Math.hypot(at(row, 'X') - at(theirs, 'X'), at(row, 'Y') - at(theirs, 'Y')) < 2,
      )
      return near === undefined ? [] : [{ theirs, near }]
    })
    assert.ok(pairs.length >= 200, `${pairs.length} of 289 nuclei were found where they are`)
    for (const [column, tolerance] of [
      ['AreaShape_Area', 0.2],
      ['Intensity_MeanIntensity_DNA', 0.15],
      ['Intensity_MaxIntensity_DNA', 0.01],
    ] as const) {
      const errors = pairs.map(({ theirs, near }) =>
        Math.abs(Number(near[column]) / Number(theirs[column]) - 1),
      )
      errors.sort((a, b) => a - b)
      const middle = errors[Math.floor(errors.length / 2)] ?? NaN
      assert.ok(middle <= tolerance, `${column}: median difference ${middle}`)
    }
  },
)
