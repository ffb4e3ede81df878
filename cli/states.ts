// A word, a glyph and a colour for every state and verdict; the word and the glyph are enough without the colour.
import { ErrorClass, ErrorClassSchema } from '#proto/wellspring/contract/v1/errors_pb.ts'
import {
  ClosedBy,
  ClosedBySchema,
  Verdict,
  VerdictSchema,
  type EntityStatus,
} from '#proto/wellspring/record/v1/output_pb.ts'
import type { DescEnum } from '@bufbuild/protobuf'
import { paint, type Colour, type Look } from './output.ts'

type Sign = { readonly glyph: string; readonly ascii: string; readonly colour: Colour }

const GOOD: Sign = { glyph: '✓', ascii: '+', colour: 'green' }
const WARN: Sign = { glyph: '!', ascii: '!', colour: 'yellow' }
const BAD: Sign = { glyph: '✗', ascii: 'x', colour: 'red' }
const RETRY: Sign = { glyph: '↻', ascii: '~', colour: 'yellow' }
const WAIT: Sign = { glyph: '·', ascii: '.', colour: 'grey' }
const SKIP: Sign = { glyph: '–', ascii: '-', colour: 'grey' }
const LATE: Sign = { glyph: '◌', ascii: 'o', colour: 'blue' }

const STATES: Readonly<Record<string, Sign>> = {
  DONE: GOOD,
  CLOSED: GOOD,
  RETIRED: GOOD,
  PARKED: BAD,
  STOPPED: BAD,
  BACKOFF: RETRY,
  RUNNING: RETRY,
  SKIPPED: SKIP,
  HOLE: LATE,
}

const VERDICTS: Readonly<Record<Verdict, Sign>> = {
  [Verdict.UNSPECIFIED]: WAIT,
  [Verdict.PASS]: GOOD,
  [Verdict.WARN]: WARN,
  [Verdict.FAIL]: BAD,
  [Verdict.NOT_EVALUATED]: WAIT,
}

export const MISSING_SIGN = LATE
export const FAILED_SIGN = BAD

export function glyph(look: Look, { glyph: utf8, ascii, colour }: Sign): string {
  return paint(look, colour, look.utf8 ? utf8 : ascii)
}

export const stateGlyph = (look: Look, state: string): string => glyph(look, STATES[state] ?? WAIT)
export const verdictSign = (verdict: Verdict): Sign => VERDICTS[verdict] ?? WAIT

/** "PASS", "not judged" … */
export function verdictWord(verdict: Verdict): string {
  if (verdict === Verdict.UNSPECIFIED || verdict === Verdict.NOT_EVALUATED) return 'not judged'
  return word(VerdictSchema, verdict, 'VERDICT_')
}

/** "open", or what closed it. */
export function closedWord(closedBy: ClosedBy): string {
  if (closedBy === ClosedBy.UNSPECIFIED) return 'open'
  return `closed by ${word(ClosedBySchema, closedBy, 'CLOSED_BY_').toLowerCase()}`
}

/** The same of a plate, and whether it is stopped, retired, may lack input, or stands still. */
export function plateWord(status: EntityStatus): string {
  const { closedBy, retiredAt, inputLoss, stopped, taskDown } = status
  const words = [...(stopped ? ['STOPPED'] : []), closedWord(closedBy)]
  if (retiredAt) words.push('retired')
  if (inputLoss) words.push('may lack input')
  if (taskDown !== '') words.push(`task down: ${taskDown}`)
  return words.join(', ')
}

export function classWord(errorClass: ErrorClass): string {
  return errorClass === ErrorClass.UNSPECIFIED
    ? ''
    : word(ErrorClassSchema, errorClass, 'ERROR_CLASS_')
}

function word(schema: DescEnum, value: number, prefix: string): string {
  return schema.value[value]?.name.replace(prefix, '') ?? String(value)
}
