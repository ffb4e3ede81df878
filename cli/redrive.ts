// redrive: try parked step runs again, through the command topic like everything that changes something.
import { randomUUID } from 'node:crypto'
import { userInfo } from 'node:os'
import { createInterface } from 'node:readline/promises'
import { create } from '@bufbuild/protobuf'
import type { Command } from '#proto/wellspring/record/v1/input_pb.ts'
import { CommandSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { commandRecord } from '../ingest/announce.ts'
import type { WhereFlags } from './environment.ts'
import { kafkaPlace } from './environment.ts'
import { CliError, EXIT } from './exit.ts'
import { openLedger } from './ledger.ts'
import { sayPassed } from './read.ts'
import { jsonOf } from './json.ts'
import type { Format } from './output.ts'
import { say, showList, shown } from './output.ts'
import type { Parked } from './selection.ts'
import type { Where } from './where.ts'
import { parkedRuns } from './selection.ts'
import { openTopics } from './topics.ts'
import { quoted } from './why.ts'

export type RedriveFlags = WhereFlags & {
  readonly output: Format
  readonly where: Where
  readonly reason: string
  readonly dryRun: boolean
  readonly yes: boolean
}

const shownMax = 20

/** Asks for one more generation of every parked run that is meant. */
export async function redrive(within: string, flags: RedriveFlags): Promise<void> {
  if (within === '' && flags.where.size === 0)
    throw new CliError(EXIT.usage, 'say what to redrive: an entity key, or --where step=…')
  const place = kafkaPlace(flags)
  const topics = await openTopics(place)
  try {
    const ledger = openLedger()
    for (const name of ['results.v1', 'dead-letters.v1'] as const)
      await topics.read(name, (record) => ledger.add(record))
    sayPassed(ledger.passed)
    const meant = parkedRuns(ledger, within, flags.where)
    if (meant.length === 0)
      throw new CliError(
        EXIT.notFound,
        'nothing that is parked matches (npx wellspring dead-letters lists it)',
      )
    const commands = meant.map((run) => redriveOf(run, flags.reason))
    const items = commands.map((command) => jsonOf(CommandSchema, command))
    if (flags.dryRun)
      return showList(flags.output, items, meant, (shown) => redriveText(shown, 'would redrive'))
    if (!flags.yes) await confirm(meant)
    await topics.announce(
      commands.map((command, at) =>
        commandRecord(command, meant[at]?.entity ?? '', place.application),
      ),
    )
    showList(flags.output, items, meant, (shown) => redriveText(shown, 'redriven'))
    say(`next: npx wellspring why ${quoted(meant[0]?.entity ?? '')}`)
  } finally {
    await topics.close()
  }
}

export function redriveOf({ entity, step }: Parked, reason: string): Command {
  return create(CommandSchema, {
    id: randomUUID(),
    author: userInfo().username,
    reason,
    action: { case: 'redrive', value: { entity, step } },
  })
}

export function redriveText(meant: readonly Parked[], done: string): string {
  const plates = new Set(meant.map(({ entity }) => entity.split('/', 3).join('/')))
  const lines = meant
    .slice(0, shownMax)
    .map(
      ({ entity, step, generation, deadLetter }) =>
        `  ${entity}/${step}  generation ${generation} -> ${generation + 1}  ${deadLetter.failure?.reason ?? ''}`,
    )
  if (meant.length > shownMax) lines.push(`  … and ${meant.length - shownMax} more`)
  const runs = meant.length === 1 ? '1 step run' : `${meant.length} step runs`
  return [`${done} ${runs} of ${plates.size} plate${plates.size === 1 ? '' : 's'}`, ...lines].join(
    '\n',
  )
}

async function confirm(meant: readonly Parked[]): Promise<void> {
  say(...redriveText(shown(meant), 'would redrive').split('\n'))
  if (!process.stdin.isTTY)
    throw new CliError(EXIT.usage, 'nobody to ask: say -y to redrive, or --dry-run to look only')
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await lines.question('proceed? [y/N] ')
  lines.close()
  if (!/^y(es)?$/i.test(answer.trim())) throw new CliError(EXIT.failed, 'nothing was redriven')
}
