// plates, plate, well: what the coordinator knows of plates, as tables and as a heat map.
import {
  ExplainResponseSchema,
  GetPlateResponseSchema,
  type ExplainResponse,
  type GetPlateResponse,
  type TaskStatus,
} from '#proto/wellspring/control/v1/control_pb.ts'
import {
  ClosedBy,
  EntityStatusSchema,
  type EntityStatus,
  type Hole,
  type PlateInputLoss,
} from '#proto/wellspring/record/v1/output_pb.ts'
import { timestampDate } from '@bufbuild/protobuf/wkt'
import { parentOf, parseEntity, plateOf } from '@wellspring/lab/entity.ts'
import { wellName } from '@wellspring/lab/wells.ts'
import { ask } from './control.ts'
import type { WhereFlags } from './environment.ts'
import { CliError, EXIT } from './exit.ts'
import { heatMap, timePointOf } from './heatmap.ts'
import { jsonOf } from './json.ts'
import { lookOf, say, showList, showOne, table, type Format, type Look } from './output.ts'
import { serviceLines } from './services.ts'
import { plateWord, verdictWord } from './states.ts'
import { manyLost, troubleLines } from './tasks.ts'
import { explain, explainText, quoted } from './why.ts'

type Flags = WhereFlags & { readonly output: Format }

const holesShownMax = 8

/** All plates, one a line. */
export async function plates(flags: Flags): Promise<void> {
  const found: EntityStatus[] = []
  let down: readonly TaskStatus[] = []
  for (let pageToken = ''; ;) {
    const page = await ask(flags, (control) => control.listPlates({ pageToken }))
    found.push(...page.plates)
    down = page.down
    pageToken = page.nextPageToken
    if (pageToken === '') break
  }
  const items = found.map((status) => jsonOf(EntityStatusSchema, status))
  showList(flags.output, items, found, platesText)
  const stopped = found.filter((status) => status.stopped && !status.retiredAt)
  if (stopped.length > 0)
    say(...stopped.map((status) => `${status.entity}  ${stoppedText(status)}`))
  if (found.length === 0 && flags.output === 'text')
    say('no plates yet: npx wellspring ingest DIR --experiment NAME')
  for (const status of down)
    say(
      ...troubleLines(status),
      found.some(({ taskDown }) => taskDown !== '')
        ? '  its plates stand as they were committed last'
        : '  its plates are not known while it is down',
    )
  const trouble = await serviceTrouble(flags)
  if (trouble.length > 0) say(...trouble)
}

/** What keeps services from being called. The plates are told all the same when that is not to be had. */
async function serviceTrouble(flags: Flags): Promise<readonly string[]> {
  try {
    const { services } = await ask(flags, (control) => control.getCoordinator({}))
    return serviceLines(services)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    return [`the state of the services is not known: ${why}`]
  }
}

/** Why a plate is stopped, and what to type; empty: it is not. */
function stoppedText({ stopped }: EntityStatus): string {
  return stopped ? `stopped: ${stopped.reason}: ${stopped.message}` : ''
}

export function platesText(found: readonly EntityStatus[]): string {
  if (found.length === 0) return ''
  return table([
    ['PLATE', 'EXPECTED', 'ARRIVED', 'DONE', 'FAILED', 'MISSING', 'PARKED', 'STATE', 'VERDICT'],
    ...found.map((status) => [
      status.entity,
      status.expected,
      status.arrived,
      status.done,
      status.failed,
      status.missing,
      status.parked,
      plateWord(status),
      verdictWord(status.verdict),
    ]),
  ])
}

/** One plate: counts, heat map, verdict, holes by name, and what to type next. */
export async function plate(name: string, flags: Flags & { timePoint?: number }): Promise<void> {
  const found = await ask(flags, (control) => control.getPlate({ plate: name }))
  showOne(flags.output, jsonOf(GetPlateResponseSchema, found), found, (shown) =>
    plateText(shown, lookOf(), flags.timePoint),
  )
}

export function plateText(found: GetPlateResponse, look: Look, timePoint?: number): string {
  const { status, wells, runs, holes } = found
  const times = [...new Set(wells.map(timePointOf))].sort((a, b) => a - b)
  const time = timePoint ?? times[0] ?? 0
  const shown = wells.filter((view) => timePointOf(view) === time)
  const lines = [
    `${status?.entity ?? ''}  ${status ? plateWord(status) : ''}${status?.revision ? `, revision ${status.revision}` : ''}`,
  ]
  if (status) lines.push(countsText(status))
  if (status?.stopped) lines.push(stoppedText(status))
  if (status?.inputLoss) lines.push(lossText(status.inputLoss))
  if (status?.taskDown)
    lines.push(`its task is down (${status.taskDown}): nothing goes on here (npx wellspring tasks)`)
  if (times.length > 1)
    lines.push(`time point ${time} of ${times.join(', ')} (--time-point shows another)`)
  if (shown.length > 0) lines.push(heatMap(shown, look))
  lines.push(`verdict  ${verdictWord(status?.verdict ?? 0)}`)
  for (const run of runs)
    if (run.failure)
      lines.push(`${run.step}  ${run.state}  ${run.failure.reason}: ${run.failure.message}`)
  lines.push(...holeLines(holes, status?.entity ?? ''), `next: ${nextCommand(found)}`)
  return lines.join('\n')
}

/** What is missing may have been among what was lost. */
function lossText({ records, acceptedBy, acceptedAt }: PlateInputLoss): string {
  const when = acceptedAt ? timestampDate(acceptedAt).toISOString().slice(0, 19) : ''
  const many = manyLost({ records })
  return `may lack input: ${many} of its task were deleted unread, accepted by ${acceptedBy} ${when}`
}

function countsText(status: EntityStatus): string {
  const { expected, arrived, done, failed, missing, duplicate, parked, objects } = status
  const share = expected > 0 ? ` (${((100 * arrived) / expected).toFixed(1)}%)` : ''
  return [
    expected > 0 ? `expected ${expected}` : 'no plan yet',
    `arrived ${arrived}${share}`,
    `done ${done}`,
    `failed ${failed}`,
    `missing ${missing}`,
    `parked ${parked}`,
    ...(duplicate > 0 ? [`duplicate ${duplicate}`] : []),
    ...(objects > 0 ? [`nuclei ${objects}`] : []),
  ].join('   ')
}

/** Holes by cause and name. A site or well whose own members are listed says nothing new, and is left out. */
export function holeLines(holes: readonly Hole[], plateKey: string): string[] {
  const above = new Set(holes.flatMap(({ entity }) => ancestorsOf(entity)))
  const leaves = holes.filter(({ entity }) => !above.has(entity))
  const groups = Map.groupBy(leaves, ({ reason, step }) =>
    step === '' ? reason : `${reason} at ${step}`,
  )
  return [...groups].flatMap(([cause, members]) => {
    const names = members
      .slice(0, holesShownMax)
      .map(({ entity }) => `      ${entity.replace(`${plateKey}/`, '')}`)
    const more = members.length - names.length
    if (more > 0) names.push(`      … and ${more} more (-o json lists them)`)
    return [`hole  ${cause}  ${members.length}`, ...names]
  })
}

function ancestorsOf(entity: string): string[] {
  const parent = parentOf(entity)
  return parent === undefined ? [] : [parent, ...ancestorsOf(parent)]
}

function nextCommand({ status, holes }: GetPlateResponse): string {
  const entity = quoted(status?.entity ?? '')
  if (status?.stopped && !status.retiredAt) return `npx wellspring redrive ${entity}`
  const hole = holes[0]
  if ((status?.parked ?? 0) > 0) return `npx wellspring dead-letters ${entity}`
  if (hole) return `npx wellspring why ${quoted(hole.entity)}`
  if (status?.closedBy === ClosedBy.UNSPECIFIED) return `npx wellspring why ${entity}`
  return `npx wellspring results ${entity}`
}

/** One well: its counts, its own steps and what is missing in it. */
export async function well(name: string, flags: Flags): Promise<void> {
  const known = await explainWell(name, flags)
  const { well: wellOf, timePoint } = parseEntity(known.entity)
  if (wellOf === undefined || timePoint === undefined)
    throw new CliError(
      EXIT.usage,
      `${known.entity} is a plate: say PLATE/WELL, for instance P1/B07`,
    )
  const entity = known.entity.split('/', 5).join('/')
  const about = entity === known.entity ? known : await explain(entity, flags)
  const found = await ask(flags, (control) => control.getPlate({ plate: plateOf(entity) }))
  const view = found.wells.find(({ status }) => status?.entity === entity)
  const holes = found.holes.filter((hole) => `${hole.entity}/`.startsWith(`${entity}/`))
  const json = {
    ...(view?.status && { status: jsonOf(EntityStatusSchema, view.status) }),
    about: jsonOf(ExplainResponseSchema, about),
    holes: holes.map(({ entity: hole, reason, step }) => ({ entity: hole, reason, step })),
  }
  showOne(flags.output, json, { about, view, holes, entity }, (shown) =>
    [
      explainText(shown.about, lookOf()),
      ...(shown.view?.status ? [countsText(shown.view.status)] : []),
      ...(shown.view ? [`worst verdict of it and below  ${verdictWord(shown.view.worst)}`] : []),
      ...holeLines(shown.holes, shown.entity),
    ].join('\n'),
  )
}

/** As typed, else PLATE/WELL: any unambiguous name of a plate, and a well in any spelling ("P1/b7"). */
async function explainWell(name: string, flags: WhereFlags): Promise<ExplainResponse> {
  try {
    return await explain(name, flags)
  } catch (error) {
    const slash = name.lastIndexOf('/')
    const spelt = wellName(name.slice(slash + 1))
    if (!(error instanceof CliError) || error.exit !== EXIT.notFound) throw error
    if (slash < 1 || spelt === undefined) throw error
    const { wells } = await ask(flags, (control) =>
      control.getPlate({ plate: name.slice(0, slash) }),
    )
    const [only, ...others] = wells.flatMap(({ well: one, status }) =>
      one === spelt && status ? [status.entity] : [],
    )
    if (only === undefined) throw error
    if (others.length === 0) return explain(only, flags)
    const lines = [only, ...others]
    throw new CliError(EXIT.usage, `"${name}" has several time points: say which`, { lines })
  }
}
