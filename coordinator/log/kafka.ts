// The log on Kafka: the twin that runs in production. Its parts: group.ts (who owns what, inputs), writer.ts
// (fenced transactions), fetch.ts (reading state by position), topics.ts; patches.ts makes kafkajs fit for it.
import type { Logger } from '../logger.ts'
import { bounded, createKafka, toLogError } from './connection.ts'
import { openReader, readPartition } from './fetch.ts'
import type { Reader } from './fetch.ts'
import { Group } from './group.ts'
import { LogError, OUTPUT_TOPICS, PLATE_EVENT_PARTITIONS } from './port.ts'
import type { GroupListener, InputTopic, Log, Offsets, OutputTopic } from './port.ts'
import { checkTopics } from './topics.ts'
import { openWriter } from './writer.ts'
import type { Place } from './writer.ts'

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
    async fence(task) {
      const transactionalId = `${application}-plate-${task}`
      const writer = await openWriter(kafka, { topicPrefix, transactionalId })
      try {
        if (await isHanging(reader, task)) await writer.sweep(placesOf(task))
        return writer
      } catch (error) {
        await writer.close()
        throw error
      }
    },
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

/** Topics whose partition only its task writes: after the fence no transaction may be open there. */
const OWN_TOPICS = OUTPUT_TOPICS.filter((topic) => topic !== 'plate-events.v1')

/**
 * A broker that starts again may close a transaction without its markers, when it does not know the topics yet
 * ("likely deleted already and hence can be skipped"). What was left open would be committed by the barrier.
 */
async function isHanging(reader: Reader, task: number): Promise<boolean> {
  const open = await Promise.all(OWN_TOPICS.map((topic) => reader.isOpen(topic, task)))
  return open.includes(true)
}

/** Every partition that a transaction of the task may have written to. */
function placesOf(task: number): Place[] {
  const own = OWN_TOPICS.map((topic: OutputTopic) => ({ topic, partition: task }))
  const shared = Array.from({ length: PLATE_EVENT_PARTITIONS }, (_, partition) => ({
    topic: 'plate-events.v1' as const,
    partition,
  }))
  return [...own, ...shared]
}
