// ListTasks: how every task of the application stands, from its owner; and what is said of one that is down wherever
// something of it is asked for.
import { Code, ConnectError, type HandlerContext } from '@connectrpc/connect'
import { create } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import {
  InputStatusSchema,
  ListTasksResponseSchema,
  TaskStatusSchema,
  type InputStatus,
  type ListTasksResponse,
  type TaskStatus,
} from '#proto/wellspring/control/v1/control_pb.ts'
import { inputLoss } from '../core/losses.ts'
import type { InputLook } from '../task/retention.ts'
import type { Model, TaskLook } from './model.ts'
import type { Peers } from './peers.ts'

/** Kafka may be away: then the tasks are told without their inputs. */
const inputsWaitMs = 3_000

/** All tasks, in order. One whose owner does not answer, or that nobody owns, is told as such. */
export async function listTasks(
  model: Model,
  peers: Peers,
  context: HandlerContext,
): Promise<ListTasksResponse> {
  const own = model.assigned().map((look) => statusOf(model, look))
  const { known, unowned } = peers.foreign(context)
  const asked = known.map(async ({ peer, tasks }) => {
    try {
      const answer = await peers.ask(peer, context, (client, options) =>
        client.listTasks({}, options),
      )
      return answer.tasks
    } catch (error) {
      const message = ConnectError.from(error).rawMessage
      return tasks.map((task) =>
        elsewhere(task, { state: 'UNKNOWN', address: peer.address, message }),
      )
    }
  })
  const answers = (await Promise.all([...own, ...asked])).flat()
  const byTask = new Map(answers.map((status) => [status.task, status]))
  for (const { tasks } of known) for (const task of tasks) if (!byTask.has(task)) unowned.push(task)
  const message = 'no coordinator is known to run it for now (start or take-over)'
  for (const task of unowned) byTask.set(task, elsewhere(task, { state: 'MOVING', message }))
  return create(ListTasksResponseSchema, {
    tasks: [...byTask.values()].toSorted((a, b) => a.task - b.task),
    application: model.application,
    topicPrefix: model.topicPrefix,
  })
}

function elsewhere(
  task: number,
  what: { state: string; message: string; address?: string },
): TaskStatus {
  return create(TaskStatusSchema, { task, ...what })
}

async function statusOf(model: Model, look: TaskLook): Promise<TaskStatus> {
  const status = briefStatus(model, look)
  status.inputs = (await inputsOf(model, look.task)).map(inputStatus)
  return status
}

/** A task that is assigned here, without its inputs. */
export function briefStatus({ instance }: Model, look: TaskLook): TaskStatus {
  const { task, isRunning, down, lastError, state } = look
  const trouble = down?.trouble
  const since = Math.min(
    down?.sinceMs ?? look.sinceMs,
    ...(trouble?.lost.map(({ noticedMs }) => noticedMs) ?? []),
  )
  return create(TaskStatusSchema, {
    task,
    state: isRunning ? 'RUNNING' : down ? 'DOWN' : 'TAKING_OVER',
    owner: instance,
    since: timestampFromMs(since),
    reason: trouble?.reason ?? '',
    message: trouble?.message ?? lastError,
    hint: trouble?.hint ?? '',
    tries: down?.tries ?? 0,
    ...(down && { nextTryAt: timestampFromMs(down.nextTryMs) }),
    lost: trouble?.lost.map((loss) => inputLoss(task, loss)) ?? [],
    accepted: state?.losses.map((loss) => inputLoss(task, loss)) ?? [],
  })
}

async function inputsOf(model: Model, task: number): Promise<readonly InputLook[]> {
  const { promise: late, resolve } = Promise.withResolvers<readonly InputLook[]>()
  const timer = setTimeout(() => resolve([]), inputsWaitMs)
  try {
    return await Promise.race([late, model.inputs(task).catch(() => [])])
  } finally {
    clearTimeout(timer)
  }
}

function inputStatus(look: InputLook): InputStatus {
  const { topic, next, low, high, oldestUnreadMs, leftMs, misfits } = look
  return create(InputStatusSchema, {
    topic,
    low,
    high,
    misfits: [...misfits],
    ...(next !== undefined && { next }),
    ...(oldestUnreadMs !== undefined && { oldestUnreadAt: timestampFromMs(oldestUnreadMs) }),
    ...(leftMs !== undefined && { retentionLeftMs: leftMs }),
  })
}

/** "task 3 is down since … (INPUT_LOST): …" */
export function downSentence(status: Pick<TaskStatus, 'task' | 'reason' | 'message'>): string {
  return `task ${status.task} is down (${status.reason}): ${status.message}`
}

/** What is asked for belongs to a task that cannot run, and is not known because of that. */
export function isDown(status: TaskStatus, before = ''): ConnectError {
  const message =
    `${before}${downSentence(status)}; what it holds is not known until it runs again: ${status.hint} ` +
    '(npx wellspring tasks)'
  return new ConnectError(message, Code.FailedPrecondition)
}
