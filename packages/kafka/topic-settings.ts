// How the input topics are kept: by the time a record arrived, for long enough, and never compacted; what is otherwise
// is named with the command that puts it right.
import type { Admin, Kafka } from 'kafkajs'
import { kafkajs } from './patches.ts'
import { INPUT_TOPICS, type InputTopic } from './topic-names.ts'
import type { InputSettings } from './records.ts'

/** Asked for again after so long. */
const FRESH_MS = 60_000

const NAMES = [
  'message.timestamp.type',
  'cleanup.policy',
  'retention.ms',
  'retention.bytes',
] as const

export type Settings = Readonly<Record<InputTopic, InputSettings>>

export type Place = { readonly topicPrefix: string; readonly brokers: readonly string[] }

/** Asks with an admin that is connected. Rejects with kafkajs's errors. */
export async function describeInputs(admin: Admin, place: Place): Promise<Settings> {
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: INPUT_TOPICS.map((topic) => ({
      type: kafkajs.ConfigResourceTypes.TOPIC,
      name: place.topicPrefix + topic,
      configNames: [...NAMES],
    })),
  })
  const of = (topic: InputTopic): InputSettings => {
    const name = place.topicPrefix + topic
    const found = resources.find((one) => one.resourceName === name)?.configEntries ?? []
    return toSettings(
      new Map(found.map(({ configName, configValue }) => [configName, configValue])),
      { name, brokers: place.brokers },
    )
  }
  return { 'images.v1': of('images.v1'), 'commands.v1': of('commands.v1') }
}

export function toSettings(
  values: ReadonlyMap<string, string>,
  { name, brokers }: { readonly name: string; readonly brokers: readonly string[] },
): InputSettings {
  const limit = (setting: string): number | undefined => {
    const value = Number(values.get(setting) ?? -1)
    return value < 0 ? undefined : value
  }
  const misfits: string[] = []
  const misfit = (what: string, wanted: string): void =>
    void misfits.push(
      `${what}: kafka-configs.sh --bootstrap-server ${brokers.join(',')} --alter --entity-type topics ` +
        `--entity-name ${name} --add-config ${wanted}`,
    )
  const [retentionMs, retentionBytes] = [limit('retention.ms'), limit('retention.bytes')]
  if (values.get('message.timestamp.type') === 'CreateTime' && retentionMs !== undefined)
    misfit(
      `${name} keeps records by their producers' time stamps, so old ones may be deleted unread`,
      'message.timestamp.type=LogAppendTime',
    )
  if (values.get('cleanup.policy')?.includes('compact'))
    misfit(
      `${name} is compacted, so all but the last record of a plate may be deleted unread`,
      'cleanup.policy=delete',
    )
  return { retentionMs, retentionBytes, misfits }
}

export type SettingsReader = {
  /** As of the last minute; undefined: the broker does not tell. */
  read(): Promise<Settings | undefined>
}

export function openSettings(kafka: Kafka, place: Place): SettingsReader {
  let asked: Promise<Settings | undefined> | undefined
  let askedMs = -Infinity

  async function ask(): Promise<Settings | undefined> {
    const admin = kafka.admin({ retry: { retries: 1 } })
    try {
      await admin.connect()
      return await describeInputs(admin, place)
    } catch {
      // Not allowed, or away: nothing is known, which is shown as such.
      return undefined
    } finally {
      await admin.disconnect().catch(() => {})
    }
  }

  return {
    read() {
      if (performance.now() - askedMs > FRESH_MS || !asked) {
        askedMs = performance.now()
        asked = ask()
      }
      return asked
    },
  }
}
