// Whether a task is down, for the audit, which is read from topics: asked of a coordinator if one is known of these topics.
import type { TaskStatus } from '#proto/wellspring/control/v1/control_pb.ts'
import { ask } from './control.ts'
import { readLocal, type KafkaPlace, type WhereFlags } from './environment.ts'
import { CliError } from './exit.ts'
import { say } from './output.ts'

/** Tasks that are down; says so on stderr when that cannot be known. */
export async function tasksDown(flags: WhereFlags, place: KafkaPlace): Promise<TaskStatus[]> {
  if (!isOfThese(flags, place)) {
    unknown('no coordinator of these topics is known (--address)')
    return []
  }
  try {
    const { tasks, topicPrefix, application } = await ask(flags, (control) => control.listTasks({}))
    if (topicPrefix !== place.topicPrefix || application !== place.application) {
      unknown(`the coordinator runs ${application} on ${topicPrefix}*`)
      return []
    }
    const silent = tasks.filter(({ state }) => state === 'UNKNOWN' || state === 'MOVING')
    if (silent.length > 0)
      unknown(`nobody answers for task ${silent.map(({ task }) => task).join()}`)
    return tasks.filter(({ state }) => state === 'DOWN')
  } catch (error) {
    if (!(error instanceof CliError)) throw error
    unknown(error.message)
    return []
  }
}

function unknown(why: string): void {
  say(`note     whether a task is down is not known: ${why}`)
}

/** What npm start wrote down counts for its own brokers only. */
function isOfThese({ address }: WhereFlags, { brokers }: KafkaPlace): boolean {
  if (address ?? process.env['WELLSPRING_CONTROL']) return true
  const local = readLocal()
  return local.control !== undefined && local.brokers?.join() === brokers.join()
}
