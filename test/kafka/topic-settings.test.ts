// How the inputs are kept: made so that nothing is deleted by its producer's time stamp, and named where it is not so.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, test } from 'node:test'
import { createKafka } from '@wellspring/kafka/connection.ts'
import { openSettings, toSettings } from '@wellspring/kafka/topic-settings.ts'
import { createTopics } from '@wellspring/kafka/topics.ts'
import { brokerForTests } from '../../dev/broker.ts'

const { brokers } = await brokerForTests()
const topicPrefix = `${randomUUID()}.`
const admin = createKafka({ brokers }).admin()
await admin.connect()
after(() => admin.disconnect())

async function create(): Promise<string[]> {
  const said: string[] = []
  const logger = (level: string, message: string): void => {
    // A topic that was just made is not served at once.
    if (!message.startsWith('kafka:')) said.push(`${level} ${message}`)
  }
  await createTopics({ brokers, topicPrefix, tasks: 2, clientId: 'settings', logger })
  return said
}

async function alter(name: string, settings: Readonly<Record<string, string>>): Promise<void> {
  const configEntries = Object.entries(settings).map(([key, value]) => ({ name: key, value }))
  await admin.alterConfigs({
    validateOnly: false,
    resources: [{ type: 2, name: topicPrefix + name, configEntries }],
  })
}

test('inputs are made to be kept by the time they arrive; nothing is to be said of them', async () => {
  assert.deepEqual(await create(), [])
  const settings = await openSettings(createKafka({ brokers }), { brokers, topicPrefix }).read()
  const day = 86_400_000
  assert.deepEqual(settings, {
    'images.v1': { retentionMs: 30 * day, retentionBytes: undefined, misfits: [] },
    'commands.v1': { retentionMs: 90 * day, retentionBytes: undefined, misfits: [] },
  })
})

test('a topic that is kept otherwise is named at the start, with the command that puts it right', async () => {
  await alter('images.v1', {
    'message.timestamp.type': 'CreateTime',
    'retention.ms': '60000',
    'retention.bytes': '1000',
  })
  await alter('commands.v1', {
    'message.timestamp.type': 'LogAppendTime',
    'cleanup.policy': 'compact',
  })
  const alterBy = (topic: string, wanted: string): string =>
    `kafka-configs.sh --bootstrap-server ${brokers.join(',')} --alter --entity-type topics ` +
    `--entity-name ${topicPrefix}${topic} --add-config ${wanted}`
  const said = await create()
  assert.equal(said.length, 2, said.join('\n'))
  assert.match(said[0] ?? '', /^warn .*images\.v1 keeps records by their producers' time stamps/)
  assert.ok(said[0]?.endsWith(alterBy('images.v1', 'message.timestamp.type=LogAppendTime')))
  assert.match(said[1] ?? '', /^warn .*commands\.v1 is compacted/)
  assert.ok(said[1]?.endsWith(alterBy('commands.v1', 'cleanup.policy=delete')))
  const settings = await openSettings(createKafka({ brokers }), { brokers, topicPrefix }).read()
  assert.deepEqual(
    [settings?.['images.v1'].retentionMs, settings?.['images.v1'].retentionBytes],
    [60_000, 1_000],
  )
})

test('producers time stamps do no harm where nothing is deleted by time', () => {
  const place = { name: 'w.images.v1', brokers: ['k:1'] }
  const kept = new Map([
    ['message.timestamp.type', 'CreateTime'],
    ['retention.ms', '-1'],
    ['retention.bytes', '1000'],
    ['cleanup.policy', 'delete'],
  ])
  assert.deepEqual(toSettings(kept, place), {
    retentionMs: undefined,
    retentionBytes: 1_000,
    misfits: [],
  })
})

test('a broker that does not tell leaves it open, instead of saying that all is well', async () => {
  const nobody = createKafka({ brokers: ['127.0.0.1:9'] })
  assert.equal(await openSettings(nobody, { brokers, topicPrefix }).read(), undefined)
})
