// why: one screen on one entity: its state, where the time went, what was tried, what happens next.
import { existsSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { Level, LevelSchema } from '#proto/wellspring/contract/v1/options_pb.ts'
import {
  ExplainResponseSchema,
  type AttemptView,
  type ExplainResponse,
  type RunView,
  type TimeSpent,
} from '#proto/wellspring/control/v1/control_pb.ts'
import type { StepFailure } from '#proto/wellspring/step/v1/failure_pb.ts'
import { timestampDate } from '@bufbuild/protobuf/wkt'
import { ask } from './control.ts'
import type { WhereFlags } from './environment.ts'
import { CliError, EXIT } from './exit.ts'
import { jsonOf } from './json.ts'
import { lookOf, seconds, showOne, type Format, type Look } from './output.ts'
import { classWord, stateGlyph, verdictWord } from './states.ts'

/** Prints what is known about the one entity that `about` names. */
export async function why(about: string, flags: WhereFlags & { output: Format }): Promise<void> {
  const known = await explain(about, flags)
  showOne(flags.output, jsonOf(ExplainResponseSchema, known), known, (shown) =>
    explainText(shown, lookOf()),
  )
}

/** Asks, and refuses the ambiguous (2, with candidates) and the unknown (3). */
export async function explain(about: string, flags: WhereFlags): Promise<ExplainResponse> {
  const asked = existsSync(about) ? pathToFileURL(about).href : about
  const known = await ask(flags, (control) => control.explain({ about: asked }))
  if (known.entity !== '') return known
  if (known.candidates.length === 0)
    throw new CliError(
      EXIT.notFound,
      `nothing is known of "${about}": no entity key, file name, URI or trace id matches (npx wellspring plates lists what is known)`,
    )
  const lines = known.candidates
  throw new CliError(EXIT.usage, `"${about}" is ambiguous: say which`, { lines })
}

export function explainText(known: ExplainResponse, look: Look): string {
  const lines = [
    `${known.entity}  ${stateGlyph(look, known.state)} ${known.state}  ${levelWord(known.level)}`,
  ]
  if (known.uri !== '') lines.push(`  file   ${known.uri}`)
  if (known.from) lines.push(`  since  ${timestampDate(known.from).toISOString()}`)
  if (known.time) lines.push(`  time   ${timeText(known.time)}`)
  for (const run of known.runs) lines.push(...runLines(run, known.entity, look))
  for (const note of known.notes) lines.push(`  note   ${note}`)
  if (known.traceId !== '') lines.push(`  trace  ${known.traceId}`)
  if (known.next !== '') lines.push(`  next   ${known.next}`)
  const parked = known.runs.find((run) => run.state === 'PARKED')
  if (parked && !known.next.includes('redrive')) {
    const entity = parked.entity || known.entity
    lines.push(
      `         npx wellspring redrive ${quoted(entity)} --where ${quoted(`step=${parked.step}`)} --dry-run`,
    )
  }
  return lines.join('\n')
}

/** The parts sum to the whole; what they leave is named, not hidden. */
function timeText(time: TimeSpent): string {
  const parts: [string, number][] = [
    ['work', time.workMs],
    ['queue', time.queueMs],
    ['back-off', time.backoffMs],
    ['siblings', time.siblingsMs],
  ]
  const rest = time.wallMs - parts.reduce((sum, [, ms]) => sum + ms, 0)
  if (Math.abs(rest) >= 1) parts.push(['other', rest])
  return `${seconds(time.wallMs)} = ${parts.map(([name, ms]) => `${name} ${seconds(ms)}`).join(' + ')}`
}

function runLines(run: RunView, entity: string, look: Look): string[] {
  const count = run.attemptsLeftOut + run.attempts.length
  const tries = count === 1 ? '1 attempt' : `${count} attempts`
  const before = run.attemptsLeftOut > 0 ? [`      … ${run.attemptsLeftOut} before these`] : []
  const where = run.entity === '' || run.entity === entity ? '' : `  ${run.entity}`
  const facts = [
    run.revision > 0 ? `revision ${run.revision}` : '',
    run.generation > 1 ? `generation ${run.generation}` : '',
    run.attempts.length > 0 ? tries : '',
    run.state === 'DONE' ? verdictWord(run.verdict) : '',
    run.dueAt ? `again at ${timestampDate(run.dueAt).toISOString()}` : '',
  ].filter((fact) => fact !== '')
  return [
    `  ${stateGlyph(look, run.state)} ${run.step.padEnd(18)} ${run.state.padEnd(8)} ${facts.join('  ')}${where}`.trimEnd(),
    ...before,
    ...run.attempts.map(attemptLine),
    ...(run.failure ? failureLines(run.failure) : []),
  ]
}

function attemptLine(attempt: AttemptView): string {
  const { number, workMs, queueMs, replica, failure, times, askedAt, endedAt } = attempt
  const end = failure ? `${classWord(failure.class)} ${failure.reason}` : ''
  const at = replica === '' ? '' : `at ${replica}`
  if (times > 1 && askedAt && endedAt) {
    const [from, to] = [timestampDate(askedAt), timestampDate(endedAt)]
    const forMs = to.getTime() - from.getTime()
    return `      ${number}  put off ${times} times in ${seconds(forMs)}, last ${to.toISOString()}  ${at}  ${end}`.trimEnd()
  }
  return `      ${number}  work ${seconds(workMs)}  queue ${seconds(queueMs)}  ${at}  ${end}`.trimEnd()
}

function failureLines(failure: StepFailure): string[] {
  const lines = [`      cause  ${classWord(failure.class)} ${failure.reason}: ${failure.message}`]
  if (failure.hint !== '') lines.push(`      hint   ${failure.hint}`)
  return lines
}

export function levelWord(level: Level): string {
  return level === Level.UNSPECIFIED
    ? ''
    : (LevelSchema.value[level]?.name.replace('LEVEL_', '').toLowerCase() ?? String(level))
}

/** Safe to paste into a shell. */
export function quoted(text: string): string {
  return /^[A-Za-z0-9._/%#@:=,-]+$/.test(text) && !/^[#-]/.test(text)
    ? text
    : `'${text.replaceAll("'", String.raw`'\''`)}'`
}
