// A plate as a terminal heat map: rows and columns of its format, a tenth of the largest value and a sign a well.
import { Verdict, type EntityStatus } from '#proto/wellspring/record/v1/output_pb.ts'
import type { WellView } from '#proto/wellspring/control/v1/control_pb.ts'
import { parseEntity } from '@wellspring/lab/entity.ts'
import { wellAt, wellPosition } from '@wellspring/lab/wells.ts'
import type { Look } from './output.ts'
import { FAILED_SIGN, glyph, MISSING_SIGN, verdictSign } from './states.ts'

/** Rows and columns of the plates that are screened: 96, 384 and 1,536 wells. */
const FORMATS = [
  [8, 12],
  [16, 24],
  [32, 48],
] as const

const CELL = 3

/** The smallest plate format that has room for all these wells. */
export function plateFormat(wells: readonly string[]): { rows: number; columns: number } {
  const places = wells.map(wellPosition)
  const fits = ([rows, columns]: readonly [number, number]): boolean =>
    places.every((place) => place.row <= rows && place.column <= columns)
  const [rows, columns] = FORMATS.find(fits) ?? [32, 48]
  return { rows, columns }
}

/** Draws the wells of one time point. Empty places of the plate stay blank. */
export function heatMap(wells: readonly WellView[], look: Look): string {
  const { rows, columns } = plateFormat(wells.map((view) => view.well))
  const byWell = new Map(wells.map((view) => [view.well, view]))
  const most = Math.max(0, ...wells.map((view) => view.value))
  const head = Array.from({ length: columns }, (_, at) => String(at + 1).padStart(CELL)).join('')
  const lines = [`   ${head}`]
  for (let row = 1; row <= rows; row += 1) {
    let line = wellAt(row, 1).slice(0, -2).padStart(2)
    for (let column = 1; column <= columns; column += 1) {
      const view = byWell.get(wellAt(row, column))
      line += view ? cell(view, most, look) : ' '.repeat(CELL)
    }
    lines.push(line.trimEnd())
  }
  return [...lines, legend(most, look)].join('\n')
}

/** The time point that a well's status belongs to. */
export function timePointOf(view: WellView): number {
  return view.status ? (parseEntity(view.status.entity).timePoint ?? 0) : 0
}

function cell(view: WellView, most: number, look: Look): string {
  const tenth = most > 0 ? String(Math.min(9, Math.floor((view.value / most) * 10))) : ''
  return `${(hasValue(view) ? tenth : '').padStart(CELL - 1)}${glyph(look, signOf(view))}`
}

const hasValue = (view: WellView): boolean => (view.status?.done ?? 0) > 0

function signOf(view: WellView): ReturnType<typeof verdictSign> {
  const { status, worst } = view
  if (worst === Verdict.FAIL) return verdictSign(Verdict.FAIL)
  if (isFailed(status)) return FAILED_SIGN
  if ((status?.missing ?? 0) > 0) return MISSING_SIGN
  return verdictSign(worst)
}

function isFailed(status: EntityStatus | undefined): boolean {
  return (status?.parked ?? 0) > 0 || (status?.failed ?? 0) > 0
}

function legend(most: number, look: Look): string {
  const { PASS, WARN, UNSPECIFIED } = Verdict
  const signs = [
    `${glyph(look, verdictSign(PASS))} pass`,
    `${glyph(look, verdictSign(WARN))} warn`,
    `${glyph(look, FAILED_SIGN)} fail or parked`,
    `${glyph(look, MISSING_SIGN)} missing images`,
    `${glyph(look, verdictSign(UNSPECIFIED))} not judged yet`,
  ]
  const scale = most > 0 ? `   0-9: tenths of ${Math.round(most)} nuclei` : ''
  return `   ${signs.join('  ')}${scale}`
}
