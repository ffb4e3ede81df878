// The log on Kafka: the twin that runs in production. Its parts: group.ts (who owns what, inputs), writer.ts
// (fenced transactions), fetch.ts (reading state by position), topics.ts; patches.ts makes kafkajs fit for it.
import type { Logger } from '../logger.ts'
import { bounded, createKafka, toLogError } from './connection.ts'
import { openReader, readPartition } from './fetch.ts'
import { Group } from './group.ts'
import { LogError } from './port.ts'
import type { GroupListener, InputTopic, Log, Offsets } from './port.ts'
import { checkTopics } from './topics.ts'
import { openWriter } from './writer.ts'

const limits = { closeMs: 2_000 } as const

export type KafkaLogOptions = {
  readonly brokers: readonly string[]
  readonly topicPrefix: string
  /** Names the group and the transactional ids; its state lives in the topics. */
  readonly application: string
  readonly tasks: number
  readonly instance: string
  /** Told to the other members of the group: owners(). */
  readonly controlAddress: string
  /** How long a silent member keeps its tasks; the broker allows 6 s and more unless told otherwise. */
  readonly sessionTimeoutMs: number
  readonly logger: Logger
  /** When a consumer that hears nothing counts as dead; see group.ts. */
  readonly silentMs?: number
}

/** Opens the log. Topics must exist (createTopics). Moments given to `confirmed` are of performance.now(). */
export async function openKafkaLog(options: KafkaLogOptions): Promise<Log> {
  const { topicPrefix, application, tasks } = options
  const kafka = createKafka({
    brokers: options.brokers,
    clientId: options.instance,
    logger: options.logger,
  })
  const reader = openReader(kafka, topicPrefix)
  let group: Group | undefined

  const joined = (): Group => {
    if (group === undefined) throw new LogError('fatal', 'join() comes before resume() and pause()')
    return group
  }

  return {
    tasks,
    async join(listener: GroupListener) {
      if (group !== undefined) throw new LogError('fatal', 'This log has joined its group already')
      await checkTopics(reader, options)
      const probe = (): Promise<unknown> => reader.offsets('images.v1', [0])
      group = new Group(kafka, { ...options, groupId: `${application}-plate`, probe }, listener)
      try {
        await group.join()
      } catch (error) {
        throw toLogError(error, `Cannot join the group ${application}-plate`)
      }
    },
    resume: (task, next) => joined().resume(task, next),
    pause: (task) => joined().pause(task),
    fence: (task) =>
      openWriter(kafka, { topicPrefix, transactionalId: `${application}-plate-${task}` }),
    readState: (task, from, onRecord) =>
      readPartition(reader, { topic: 'state.v1', partition: task, from }, onRecord),
    async inputOffsets(task) {
      const offsets = async (topic: InputTopic): Promise<Offsets> =>
        (await reader.offsets(topic, [task])).get(task) ?? { low: 0, high: 0 }
      const [images, commands] = await Promise.all([offsets('images.v1'), offsets('commands.v1')])
      return { 'images.v1': images, 'commands.v1': commands }
    },
    owners: () => group?.owners() ?? new Map(),
    async close() {
      await group?.close()
      await bounded(reader.close(), limits.closeMs)
    },
  }
}
