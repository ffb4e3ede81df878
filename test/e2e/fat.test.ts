// Plates of which a site, a run or a plan outgrew what one record holds, on a real broker, beside one that is like any
// other: all of them end as they should, and the coordinator never does.
import assert from 'node:assert/strict'
import { cp, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'node:test'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { PlannedWellSchema, type PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { DeadLetterSchema, type DeadLetter } from '#proto/wellspring/record/v1/output_pb.ts'
import { ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { hex, sha256 } from '../../coordinator/core/keys.ts'
import { wellAt } from '@wellspring/lab/wells.ts'
import type { Client, OutgoingRecord } from '@wellspring/kafka/client.ts'
import { createKafka } from '@wellspring/kafka/connection.ts'
import { kafkajs } from '@wellspring/kafka/patches.ts'
import type { Running } from '../../dev/child.ts'
import { realSet } from '../ingest/data.ts'
import { openLab, type Lab } from './lab.ts'
import { imageRecords, openStage, planOf, planRecord, type Stage } from './stage.ts'

const RECORD_BYTES_MAX = 262_144
const UNKNOWN_BYTES = 600_000

/** One record per image of a stack: one well, one site. */
function stackOf(plan: PlatePlan, uriChars: number): OutgoingRecord[] {
  const { experiment, plate, acquisition } = plan
  return plan.zPlanes.flatMap((z) =>
    plan.channels.map(({ name: channel }): OutgoingRecord => {
      const uri = `file:///nowhere/${plate}/${z}/${channel}/`
      const image = create(ImageAcquiredSchema, {
        identity: {
          experiment,
          plate,
          acquisition,
          well: 'A01',
          timePoint: 0,
          site: 1,
          z,
          channel,
        },
        artifact: {
          uri: uri.padEnd(uriChars, 'x'),
          sizeBytes: 10,
          sha256: hex(sha256(Buffer.from(uri))),
        },
        channel: { name: channel, kind: ChannelKind.FLUORESCENCE },
      })
      return {
        topic: 'images.v1',
        key: `${experiment}/${plate}`,
        value: toBinary(ImageAcquiredSchema, image),
        headers: { 'wellspring-type': ImageAcquiredSchema.typeName },
      }
    }),
  )
}

function stackPlan(plate: string, planes: number, channels: number): PlatePlan {
  const plan = planOf(plate, { wells: 1, sites: 1, channels })
  plan.zPlanes = Array.from({ length: planes }, (_, z) => z)
  return plan
}

/** A plan of 1,536 wells that say what was done to them. */
function treatedPlan(plate: string, treatment: string): PlatePlan {
  const plan = planOf(plate, { wells: 0, sites: 1, channels: 1 })
  for (let at = 0; at < 1_536; at += 1) {
    const well = wellAt(1 + Math.floor(at / 48), 1 + (at % 48))
    plan.wells.push(create(PlannedWellSchema, { well, treatment }))
  }
  return plan
}

/** The same record with an artifact that says more than anybody here knows. */
function withUnknown(record: OutgoingRecord): OutgoingRecord {
  const image = fromBinary(ImageAcquiredSchema, record.value ?? new Uint8Array())
  const data = Buffer.concat([Buffer.from([0xc0, 0xcf, 0x24]), Buffer.alloc(UNKNOWN_BYTES, 7)])
  if (image.artifact) image.artifact.$unknown = [{ no: 999, wireType: 2, data }]
  const value = toBinary(ImageAcquiredSchema, image)
  assert.ok(value.length > UNKNOWN_BYTES)
  return { ...record, value }
}

/** A record that is larger than a broker takes as it is. */
async function produceCompressed(
  { brokers, topicPrefix }: Stage,
  { topic, key, value, headers }: OutgoingRecord,
): Promise<void> {
  assert.ok((value?.length ?? 0) > 1_100_000)
  const createPartitioner = kafkajs.Partitioners.DefaultPartitioner
  const producer = createKafka({ brokers }).producer({ createPartitioner })
  await producer.connect()
  await producer.send({
    topic: topicPrefix + topic,
    compression: kafkajs.CompressionTypes.GZIP,
    messages: [{ key, value: value && Buffer.from(value), headers: { ...headers }, partition: 0 }],
  })
  await producer.disconnect()
}

async function lettersOf(client: Client): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = []
  for await (const { value } of client.readAll('dead-letters.v1'))
    if (value) letters.push(fromBinary(DeadLetterSchema, value))
  return letters
}

async function largestOf(client: Client): Promise<number> {
  let largest = 0
  for (const topic of [
    'state.v1',
    'results.v1',
    'spans.v1',
    'dead-letters.v1',
    'status.v1',
  ] as const)
    for await (const { key, value } of client.readAll(topic))
      largest = Math.max(largest, (key?.length ?? 0) + (value?.length ?? 0))
  return largest
}

const isUp = ({ pid }: Running): boolean => process.kill(pid, 0)

test('384 images a site, long failures, a plan full of text, fields that nobody knows: all end, and nothing else does', async (t) => {
  const stage = await openStage({
    pipeline: 'echo-levels.ts',
    tasks: 1,
    echo: {
      WELLSPRING_ECHO_FAIL: JSON.stringify({
        'E/tries/': { reason: 'NOT_YET', messageChars: 2_000 },
      }),
    },
  })
  try {
    const one = await stage.coordinator('one')
    const fat = stackPlan('fat', 12, 32)
    const tries = stackPlan('tries', 12, 5)
    const treated = treatedPlan('treated', 'C'.repeat(180))
    const widely = treatedPlan('widely', 'µ'.repeat(256))
    const tooWide = treatedPlan('tooWide', '\u{1F9EA}'.repeat(256))
    const odd = planOf('odd', { wells: 2, sites: 1, channels: 1 })
    const plain = planOf('plain', { wells: 4, sites: 2, channels: 2 })
    for (const plan of [fat, tries, treated, widely, odd, plain])
      await stage.client.produce([planRecord(plan)])
    await produceCompressed(stage, planRecord(tooWide))
    await stage.client.produce(stackOf(fat, 500))
    await stage.client.produce(stackOf(tries, 150))
    for (const plan of [treated, widely]) await stage.client.produce(imageRecords(plan).slice(0, 3))
    for (const image of imageRecords(odd)) await stage.client.produce([withUnknown(image)])
    await stage.client.produce(imageRecords(plain))

    const found = await stage.untilDone(150_000)
    assert.ok(isUp(one), 'the coordinator that began has ended it all')
    const refused = (await lettersOf(stage.client)).filter(({ origin }) => origin !== undefined)
    assert.deepEqual(
      refused.map(({ failure }) => failure?.message),
      ['the record has 1590167 bytes; at most 1048576 are taken in'],
    )
    assert.deepEqual([found.duplicate, found.unplanned], [0, 0])
    const counts = new Map(found.plates.map((plate) => [plate.plate, plate]))
    // Per image, site, well and plate one step.
    assert.equal(counts.get('E/fat/a1')?.done, 384 + 3)
    assert.equal(counts.get('E/plain/a1')?.done, 16 + 8 + 4 + 1)
    assert.equal(counts.get('E/odd/a1')?.done, 2 + 2 + 2 + 1)
    assert.equal(counts.get('E/tries/a1')?.parked, 60)
    for (const plate of ['E/treated/a1', 'E/widely/a1'])
      assert.equal(counts.get(plate)?.done, 3 * 3 + 1)
    const letters = (await lettersOf(stage.client)).filter(({ step }) => step !== '')
    assert.equal(letters.length, 60)
    for (const { failure, attempts } of letters) {
      assert.deepEqual([failure?.reason, attempts], ['NOT_YET', 5])
      assert.ok((failure?.message.length ?? 0) > 1_000)
    }
    const largest = await largestOf(stage.client)
    assert.ok(largest < RECORD_BYTES_MAX, `${largest} bytes`)

    // What is there is found again by whoever comes next.
    await one.stop()
    const two = await stage.coordinator('two')
    const again = planOf('again', { wells: 1, sites: 1, channels: 1 })
    await stage.client.produce([planRecord(again), ...imageRecords(again)])
    await stage.client.produce(stackOf(fat, 500))
    await stage.untilDone(60_000)
    assert.ok(isUp(two))
    t.diagnostic(`largest record: ${largest} bytes`)
  } finally {
    await stage.close()
  }
})

type PlateJson = { readonly done?: number; readonly parked?: number }

async function untilPlate(lab: Lab, isSo: (plate: PlateJson) => boolean): Promise<void> {
  const deadlineMs = Date.now() + 150_000
  for (;;) {
    const { stdout } = await lab.cli('plates', '-o', 'json')
    const [plate] = (JSON.parse(stdout) as { items: PlateJson[] }).items
    if (plate && isSo(plate)) return
    assert.ok(Date.now() < deadlineMs, stdout)
    await sleep(1_000)
  }
}

const stack = realSet('cases/32-stack-share-gone')

test(
  'a share that is away under a site of 100 images: they wait, and are done when it is back',
  stack.needs,
  async () => {
    const lab = await openLab()
    try {
      const folder = join(lab.dir, 'share'.padEnd(200, '-'))
      await cp(stack.path, folder, { recursive: true })
      const coordinator = await lab.startCoordinator('one')
      const ran = await lab.cli(
        'ingest',
        join(folder, 'plate', 'manifest.csv'),
        '--experiment',
        'E',
      )
      assert.equal(ran.code, 0, ran.stderr)
      await rename(folder, `${folder}.away`)
      // Meanwhile each image fails several times, and says with which file.
      await sleep(40_000)
      assert.ok(isUp(coordinator))
      const away = await lab.cli('plates')
      assert.match(away.stdout, /E\/PL32\/a1 +100 +100/)
      await rename(`${folder}.away`, folder)
      await untilPlate(lab, ({ done = 0, parked = 0 }) => done + parked === 100)
      // Who has spent its attempts by then waits for a person's word.
      for (const { failure } of await lettersOf(lab.client))
        assert.equal(failure?.class, ErrorClass.RETRYABLE, failure?.message)
      await lab.cli('redrive', 'E/PL32/a1', '-y')
      await untilPlate(lab, ({ done }) => done === 100)
      assert.ok(isUp(coordinator))
      const largest = await largestOf(lab.client)
      assert.ok(largest < RECORD_BYTES_MAX, `${largest} bytes`)
    } finally {
      await lab.close()
    }
  },
)
