// tasks: who runs each task, why one is down, what of its input is not read and for how long it is kept; and a person's
// word to go on without input that is lost.
import { randomUUID } from 'node:crypto'
import { userInfo } from 'node:os'
import { create, toBinary } from '@bufbuild/protobuf'
import { timestampDate, type Timestamp } from '@bufbuild/protobuf/wkt'
import {
  TaskStatusSchema,
  type InputStatus,
  type ListTasksResponse,
  type TaskStatus,
} from '#proto/wellspring/control/v1/control_pb.ts'
import { CommandSchema, type Command } from '#proto/wellspring/record/v1/input_pb.ts'
import type { InputLoss } from '#proto/wellspring/record/v1/output_pb.ts'
import { check } from '../ingest/announce.ts'
import { ask } from './control.ts'
import { kafkaPlace, type WhereFlags } from './environment.ts'
import { CliError, EXIT } from './exit.ts'
import { jsonOf } from './json.ts'
import { say, seconds, showList, table, type Format } from './output.ts'
import { openTopics } from './topics.ts'

export type TasksFlags = WhereFlags & {
  readonly output: Format
  /** `<topic>/<partition>` whose loss is accepted; none: the tasks are listed. */
  readonly acceptLoss: readonly string[]
  readonly reason: string
  readonly author?: string
}

/** Lists the tasks, or accepts losses. */
export async function tasks(flags: TasksFlags): Promise<void> {
  const found = await ask(flags, (control) => control.listTasks({}))
  if (flags.acceptLoss.length > 0) return acceptLosses(found, flags)
  const items = found.tasks.map((task) => jsonOf(TaskStatusSchema, task))
  showList(flags.output, items, found.tasks, tasksText)
}

export function tasksText(all: readonly TaskStatus[]): string {
  const rows = all.map(({ task, state, reason, owner, address, since, inputs }) => [
    task,
    reason === '' ? state : `${state} ${reason}`,
    owner || address,
    timeOf(since),
    ...['images.v1', 'commands.v1'].map((topic) => unreadOf(inputs, topic)),
    leftOf(inputs),
  ])
  const head = ['TASK', 'STATE', 'OWNER', 'SINCE', 'UNREAD IMAGES', 'COMMANDS', 'KEPT FOR']
  const misfits = new Set(all.flatMap(({ inputs }) => inputs.flatMap((input) => input.misfits)))
  return [
    table([head, ...rows]),
    ...all.flatMap(troubleLines),
    ...all.flatMap(({ task, accepted }) => accepted.map((loss) => acceptedLine(task, loss))),
    ...[...misfits].map((misfit) => `warning  ${misfit}`),
  ].join('\n')
}

function timeOf(at: Timestamp | undefined): string {
  return at ? timestampDate(at).toISOString().slice(0, 19) : ''
}

function unreadOf(inputs: readonly InputStatus[], topic: string): string {
  const input = inputs.find((one) => one.topic === topic)
  return input?.next === undefined ? '?' : String(Math.max(0, input.high - input.next))
}

/** What is unread of either input is kept at least so long. */
function leftOf(inputs: readonly InputStatus[]): string {
  const left = inputs.flatMap(({ retentionLeftMs }) => retentionLeftMs ?? [])
  if (left.length > 0) return seconds(Math.min(...left))
  const isRead = inputs.length > 0 && inputs.every(({ next, high }) => (next ?? -1) >= high)
  return isRead ? 'all read' : '?'
}

/** Why a task does not run, and the way out. */
export function troubleLines(status: TaskStatus): string[] {
  const { task, state, reason, message, hint, tries, nextTryAt } = status
  if (state === 'RUNNING' || message === '') return []
  const lines = [`task ${task}  ${reason || state}: ${message}`]
  if (hint !== '') lines.push(`  next  ${hint}`)
  if (nextTryAt) lines.push(`  tried ${tries} times since; looked at again ${timeOf(nextTryAt)}`)
  return lines
}

function acceptedLine(task: number, loss: InputLoss): string {
  const { topic, from, to, acceptedBy, acceptedAt, acceptedBecause } = loss
  const by = `accepted by ${acceptedBy} ${timeOf(acceptedAt)}: ${acceptedBecause}`
  return `task ${task}  lost ${manyLost(loss)} of ${topic}/${task}, ${from} to ${to}; ${by}`
}

export function manyLost({ records }: Pick<InputLoss, 'records'>): string {
  return records === 0 ? 'an unknown number of records' : `${records} records`
}

async function acceptLosses(found: ListTasksResponse, flags: TasksFlags): Promise<void> {
  if (flags.reason.trim() === '')
    throw new CliError(EXIT.usage, 'say why, for the record: --reason "..."')
  const place = kafkaPlace(flags)
  if (place.topicPrefix !== found.topicPrefix)
    throw new CliError(
      EXIT.usage,
      `the coordinator reads ${found.topicPrefix}*, not ${place.topicPrefix}*: set WELLSPRING_TOPIC_PREFIX`,
    )
  const losses = flags.acceptLoss.map((named) => lossAt(found.tasks, named, place.topicPrefix))
  const commands = losses.map((loss) => acceptance(loss, flags))
  const topics = await openTopics(place)
  try {
    await topics.announce(
      commands.map((command, at) => ({
        topic: 'commands.v1',
        key: 'accept-loss',
        partition: losses[at]?.partition ?? 0,
        value: toBinary(CommandSchema, command),
        headers: { 'wellspring-type': CommandSchema.typeName },
      })),
    )
  } finally {
    await topics.close()
  }
  const items = commands.map((command) => jsonOf(CommandSchema, command))
  showList(flags.output, items, losses, (shown) =>
    shown
      .map(
        (loss) =>
          `accepted ${manyLost(loss)} of ${loss.topic}/${loss.partition}, ${loss.from} to ${loss.to}`,
      )
      .join('\n'),
  )
  say('next: npx wellspring tasks (the task goes on within 10 s)')
}

/** The loss of a place as the coordinator sees it; another topic prefix than ours is no part of its name. */
export function lossAt(all: readonly TaskStatus[], named: string, topicPrefix: string): InputLoss {
  const name = named.startsWith(topicPrefix) ? named.slice(topicPrefix.length) : named
  const [, topic, partition] = /^(images\.v1|commands\.v1)\/([0-9]{1,6})$/.exec(name) ?? []
  if (topic === undefined)
    throw new CliError(EXIT.usage, `"${named}" is not images.v1/N or commands.v1/N`)
  const status = all.find(({ task }) => task === Number(partition))
  if (!status)
    throw new CliError(EXIT.notFound, `there is no task ${partition}: ${all.length} tasks in all`)
  const loss = status.lost.find((one) => one.topic === topic)
  if (loss) return loss
  const isKnown = status.state === 'RUNNING' || status.state === 'DOWN'
  throw isKnown
    ? new CliError(EXIT.notFound, `nothing of ${name} is lost: npx wellspring tasks shows what is`)
    : new CliError(
        EXIT.unreachable,
        `task ${partition} is ${status.state}: what it lost is not known now (${status.message})`,
      )
}

function acceptance(
  { topic, partition, from, to }: InputLoss,
  { reason, author = userInfo().username }: TasksFlags,
): Command {
  const command = create(CommandSchema, {
    id: randomUUID(),
    author,
    reason,
    action: { case: 'acceptLoss', value: { topic, partition, from, to } },
  })
  try {
    check(CommandSchema, command)
  } catch (cause) {
    throw new CliError(EXIT.usage, cause instanceof Error ? cause.message : String(cause), {
      cause,
    })
  }
  return command
}
