// redrive: try parked step runs again, through the command topic like everything that changes something.
import { randomUUID } from 'node:crypto'
import { userInfo } from 'node:os'
import { createInterface } from 'node:readline/promises'
import { create, fromBinary } from '@bufbuild/protobuf'
import { CommandSchema, type Command } from '#proto/wellspring/record/v1/input_pb.ts'
import { EntityStatusSchema, type EntityStatus } from '#proto/wellspring/record/v1/output_pb.ts'
import { commandRecord } from '../ingest/announce.ts'
import { kafkaPlace, type WhereFlags } from './environment.ts'
import { CliError, EXIT } from './exit.ts'
import { openLedger } from './ledger.ts'
import { sayPassed } from './read.ts'
import { jsonOf } from './json.ts'
import { say, showList, shown, type Format } from './output.ts'
import { parkedRuns, stoppedPlates, type Parked } from './selection.ts'
import type { Where } from './where.ts'
import { openTopics, type Topics } from './topics.ts'
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
    const stopped = flags.where.size > 0 ? [] : stoppedPlates(await statuses(topics), within)
    const meant = [
      ...stopped.map((plate) => ({ ...plate, step: '', says: `stopped: ${plate.reason}` })),
      ...parkedRuns(ledger, within, flags.where).map(meantOf),
    ]
    if (meant.length === 0)
      throw new CliError(
        EXIT.notFound,
        'nothing that is parked or stopped matches (npx wellspring dead-letters lists it)',
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

/** What is tried again: a parked run, or a stopped plate. */
export type Meant = { readonly entity: string; readonly step: string; readonly says: string }

export function meantOf({ entity, step, generation, deadLetter }: Parked): Meant {
  const says = `generation ${generation} -> ${generation + 1}  ${deadLetter.failure?.reason ?? ''}`
  return { entity, step, says }
}

/** The last word on every plate. */
async function statuses(topics: Topics): Promise<Map<string, EntityStatus>> {
  const last = new Map<string, EntityStatus>()
  await topics.read('status.v1', ({ key, value, unreadable }) => {
    // Wells are told there too.
    if (unreadable !== undefined || key.split('/').length !== 3) return
    last.set(key, fromBinary(EntityStatusSchema, value))
  })
  return last
}

export function redriveOf(
  { entity, step }: Pick<Meant, 'entity' | 'step'>,
  reason: string,
): Command {
  return create(CommandSchema, {
    id: randomUUID(),
    author: userInfo().username,
    reason,
    action: { case: 'redrive', value: { entity, step } },
  })
}

export function redriveText(meant: readonly Meant[], done: string): string {
  const plates = new Set(meant.map(({ entity }) => entity.split('/', 3).join('/')))
  const lines = meant
    .slice(0, shownMax)
    .map(({ entity, step, says }) => `  ${entity}${step === '' ? '' : `/${step}`}  ${says}`)
  if (meant.length > shownMax) lines.push(`  … and ${meant.length - shownMax} more`)
  const runs = meant.filter(({ step }) => step !== '').length
  const whole = meant.length - runs
  const counted = [
    ...(runs > 0 ? [`${runs} step run${runs === 1 ? '' : 's'}`] : []),
    ...(whole > 0 ? [`${whole} stopped plate${whole === 1 ? '' : 's'}`] : []),
  ].join(' and ')
  const of = `${plates.size} plate${plates.size === 1 ? '' : 's'}`
  return [`${done} ${counted} of ${of}`, ...lines].join('\n')
}

async function confirm(meant: readonly Meant[]): Promise<void> {
  say(...redriveText(shown(meant), 'would redrive').split('\n'))
  if (!process.stdin.isTTY)
    throw new CliError(EXIT.usage, 'nobody to ask: say -y to redrive, or --dry-run to look only')
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await lines.question('proceed? [y/N] ')
  lines.close()
  if (!/^y(es)?$/i.test(answer.trim())) throw new CliError(EXIT.failed, 'nothing was redriven')
}
