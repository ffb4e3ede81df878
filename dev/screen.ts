// What a person sees while npm start runs: a bar per plate, the services, the first verdict. On a terminal it is
// drawn over itself; elsewhere it is plain lines.
import { stripVTControlCharacters } from 'node:util'
import { ClosedBy, type EntityStatus } from '#proto/wellspring/record/v1/output_pb.ts'
import { lookOf, paint, visible, type Look } from '../cli/output.ts'
import { oneLine } from '../proto/plain-text.ts'
import { closedWord, stateGlyph, verdictWord } from '../cli/states.ts'
import { inSeconds } from './tools.ts'

const limits = { barMax: 40, lineEveryMs: 5_000, columnsMin: 76, columnsWide: 100 } as const

export type View = {
  /** Since acquisition began. */
  readonly elapsedMs: number
  /** In order; without a status nothing is known yet. */
  readonly plates: readonly { readonly name: string; readonly status: EntityStatus | undefined }[]
  readonly services: readonly { readonly name: string; readonly up: boolean }[]
  /** When the first verdict on an image came, and what share was still to be imaged then. */
  readonly firstVerdict: { readonly afterMs: number; readonly toBeImaged: number } | undefined
}

export interface Screen {
  show(view: View): void
  /** A line that stays. */
  note(text: string): void
  /** Leaves the last picture where it is. */
  close(): void
}

type Stream = { isTTY?: boolean; columns?: number; write(text: string): unknown }

export function openScreen(stream: Stream = process.stdout): Screen {
  const isWide = (stream.columns ?? 80) >= limits.columnsMin
  return stream.isTTY === true && isWide ? liveScreen(stream) : plainScreen(stream)
}

function liveScreen(stream: Stream): Screen {
  const look = lookOf(stream)
  let drawn: readonly string[] = []
  const wipe = (): string => (drawn.length > 0 ? `\u001b[${drawn.length}A\u001b[J` : '')
  const draw = (): string => drawn.map((line) => `${visible(line)}\n`).join('')
  return {
    show(view) {
      const old = wipe()
      drawn = picture(view, look, stream.columns ?? 80)
      stream.write(old + draw())
    },
    note: (text) => void stream.write(`${wipe()}${oneLine(text)}\n${draw()}`),
    close: () => {
      drawn = []
    },
  }
}

function plainScreen(stream: Stream): Screen {
  let last = Number.NEGATIVE_INFINITY
  let said = ''
  return {
    show(view) {
      if (performance.now() - last < limits.lineEveryMs) return
      last = performance.now()
      const words = view.plates.map(({ name, status }) => plateWords(name, status)).join(' | ')
      if (words === said) return
      said = words
      stream.write(`${inSeconds(view.elapsedMs).padStart(6)}  ${oneLine(words)}\n`)
    },
    note: (text) => void stream.write(`${oneLine(text)}\n`),
    close: () => {},
  }
}

/** Lines of the live picture, none wider than the terminal. */
export function picture(view: View, look: Look, columns: number): string[] {
  const wordsWidth = columns < limits.columnsWide ? 66 : 86
  const barWidth = Math.max(8, Math.min(limits.barMax, columns - wordsWidth))
  const plates = view.plates.map(({ name, status }) => {
    const bar = barOf(status, look, barWidth)
    return `${name}  ${bar}  ${plateWords('', status, columns)}`
  })
  const services = view.services.map(
    ({ name, up }) =>
      `${stateGlyph(look, up ? 'DONE' : 'BACKOFF')} ${name}${up ? '' : ' (starting)'}`,
  )
  return [
    ...plates,
    ...wrapped(services, columns),
    firstVerdictWords(view.firstVerdict) ?? 'waiting for the first verdict',
  ]
}

/** "first verdict after 1.9 s, while 97 % is still to be imaged" */
export function firstVerdictWords(first: View['firstVerdict']): string | undefined {
  if (!first) return undefined
  const share = Math.round(first.toBeImaged * 100)
  return `first verdict after ${inSeconds(first.afterMs)}, while ${share} % is still to be imaged`
}

function plateWords(name: string, status: EntityStatus | undefined, columns = 120): string {
  if (!status) return `${name} waiting`.trim()
  const { expected, arrived, done, failed, missing, closedBy, verdict } = status
  const isWide = columns >= limits.columnsWide
  const closed = closedBy === ClosedBy.UNSPECIFIED ? '' : closedWord(closedBy)
  const end =
    closed && (isWide ? `, ${closed}, ${verdictWord(verdict)}` : `, ${verdictWord(verdict)}`)
  const counts = `arrived ${arrived}/${expected} processed ${done} failed ${failed} missing ${missing}`
  return `${name} ${counts}${end}`.trim()
}

/** Processed, arrived and failed as shares of what is expected; the rest is still to come. */
function barOf(status: EntityStatus | undefined, look: Look, width: number): string {
  const { expected = 0, arrived = 0, done = 0, failed = 0, missing = 0 } = status ?? {}
  const cells = (count: number): number => Math.round((count / Math.max(expected, 1)) * width)
  const [full, half, bad, gone, none] = look.utf8
    ? ['█', '▒', '✗', '◌', '░']
    : ['#', '+', 'x', 'o', '.']
  const ends = [done, done + failed, Math.max(arrived, done + failed)].map(cells)
  const [doneEnd = 0, failedEnd = 0, arrivedEnd = 0] = ends
  const missingEnd = Math.min(width, Math.max(arrivedEnd, cells(arrived + missing)))
  return [
    paint(look, 'green', full.repeat(doneEnd)),
    paint(look, 'red', bad.repeat(failedEnd - doneEnd)),
    half.repeat(arrivedEnd - failedEnd),
    paint(look, 'blue', gone.repeat(missingEnd - arrivedEnd)),
    paint(look, 'grey', none.repeat(width - missingEnd)),
  ].join('')
}

/** Words side by side, in as many lines as it takes. */
function wrapped(words: readonly string[], columns: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of words) {
    if (line !== '' && widthOf(line) + 2 + widthOf(word) > columns) {
      lines.push(line)
      line = ''
    }
    line = line === '' ? word : `${line}  ${word}`
  }
  return line === '' ? lines : [...lines, line]
}

/** Without colours. */
function widthOf(text: string): number {
  return stripVTControlCharacters(text).length
}
