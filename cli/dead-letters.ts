// dead-letters: what was set aside, grouped by cause, with what a person can do about it.
import { timestampDate } from '@bufbuild/protobuf/wkt'
import { DeadLetterSchema, type DeadLetter } from '#proto/wellspring/record/v1/output_pb.ts'
import type { WhereFlags } from './environment.ts'
import { jsonOf } from './json.ts'
import { showList, table, type Format } from './output.ts'
import { readLedger } from './read.ts'
import type { Where } from './where.ts'
import { isWithin, parkedRuns } from './selection.ts'
import { classWord } from './states.ts'
import { quoted } from './why.ts'

export type DeadLetterFlags = WhereFlags & { readonly output: Format; readonly where: Where }

const rowsMax = 50

/** Lists what is parked now and the input records that could not be taken in. */
export async function deadLetters(within: string, flags: DeadLetterFlags): Promise<void> {
  const ledger = await readLedger(flags, ['results.v1', 'dead-letters.v1'])
  const parked = parkedRuns(ledger, within, flags.where).map((end) => end.deadLetter)
  const others = flags.where.size > 0 ? [] : [...ledger.stopped.values(), ...ledger.refusedInputs]
  const letters = [...parked, ...others.filter(({ entity }) => isWithin(entity, within))]
  const items = letters.map((letter) => jsonOf(DeadLetterSchema, letter))
  showList(flags.output, items, letters, (shown) => deadLettersText(shown, within))
}

export function deadLettersText(letters: readonly DeadLetter[], within: string): string {
  if (letters.length === 0) return 'nothing is parked'
  const groups = Map.groupBy(
    letters,
    (letter) => `${titleOf(letter)}\n${letter.failure?.reason ?? ''}`,
  )
  const blocks = [...groups.values()].map((group) => groupText(group, within))
  return blocks.join('\n\n')
}

function titleOf({ step, origin }: DeadLetter): string {
  return step || (origin ? 'not taken in' : 'plate')
}

function groupText(group: readonly DeadLetter[], within: string): string {
  const [first] = group
  const failure = first?.failure
  const step = first?.step ?? ''
  const lines = [
    `${first ? titleOf(first) : ''}  ${classWord(failure?.class ?? 0)} ${failure?.reason ?? ''}  ${group.length}`,
  ]
  if (failure?.hint) lines.push(`  hint  ${failure.hint}`)
  const rows = group
    .slice(0, rowsMax)
    .map((letter) => [
      ` `,
      letter.entity ||
        `${letter.origin?.topic ?? ''}/${letter.origin?.partition ?? ''}/${letter.origin?.offset ?? ''}`,
      letter.parkedAt ? timestampDate(letter.parkedAt).toISOString().slice(0, 19) : '',
      letter.failure?.message.split('\n', 1)[0]?.slice(0, 120) ?? '',
    ])
  lines.push(table(rows))
  if (group.length > rowsMax)
    lines.push(`  … and ${group.length - rowsMax} more (-o jsonl lists them)`)
  if (step !== '')
    lines.push(
      `  next  npx wellspring redrive ${within === '' ? '' : `${quoted(within)} `}--where ${quoted(`step=${step},reason=${failure?.reason ?? ''}`)} --dry-run`,
    )
  return lines.join('\n')
}
