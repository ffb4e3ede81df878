// An image that ends what works on it each time, the program behind a wrapper or the wrapper itself, among images that
// do not: it is set aside as poison, by name, and the others are done.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { DeadLetterSchema, type DeadLetter } from '#proto/wellspring/record/v1/output_pb.ts'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { ImageQualityService } from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import { entityKey } from '@wellspring/lab/entity.ts'
import { hex, sha256 } from '../../coordinator/core/keys.ts'
import type { OutgoingRecord } from '@wellspring/kafka/client.ts'
import type { Running } from '../../dev/child.ts'
import { imageRecords, openStage, planOf, planRecord, type Stage } from './stage.ts'

const layout = { wells: 4, sites: 3, channels: 2 }
const killers = ['E/P1/a1/A01/t0/s1/z0/w1', 'E/P1/a1/A03/t0/s2/z0/w2']

/** Starts a program again whenever it ends, where it was. */
async function supervised(
  stage: Stage,
  file: string,
  settings: (address: string) => Record<string, string>,
): Promise<{ readonly address: string; readonly ends: () => number; stop(): Promise<void> }> {
  let isOver = false
  let ends = 0
  const first = await stage.program('ending', file, settings('127.0.0.1:0'))
  const { address } = first
  const watch = async (running: Running): Promise<void> => {
    await running.exited
    if (isOver) return
    ends += 1
    starting = stage.program('ending', file, settings(address))
    await watch(await starting)
  }
  let starting = Promise.resolve(first)
  void watch(first)
  return {
    address,
    ends: () => ends,
    async stop() {
      isOver = true
      await starting
    },
  }
}

async function lettersOf(stage: Stage): Promise<DeadLetter[]> {
  const found: DeadLetter[] = []
  for await (const { value } of stage.client.readAll('dead-letters.v1'))
    if (value) found.push(fromBinary(DeadLetterSchema, value))
  return found
}

function arePoison(letters: readonly DeadLetter[], wanted: readonly string[]): void {
  assert.deepEqual(letters.map(({ entity }) => entity).toSorted(), wanted)
  for (const { failure } of letters) {
    assert.deepEqual([failure?.class, failure?.reason], [ErrorClass.POISON, 'ENDS_PROGRAM'])
    assert.match(failure?.message ?? '', /^this image ended the program \d times; /)
    assert.doesNotMatch(failure?.hint ?? '', /running/)
  }
}

test('an image that ends the HTTP program behind its wrapper', async () => {
  const stage = await openStage({ pipeline: 'quality-only.ts', tasks: 2 })
  try {
    const program = await supervised(stage, 'test/e2e/ending-program.ts', (address) => ({
      PORT: address.split(':')[1] ?? '0',
    }))
    const wrapper = await stage.program('image-quality', 'services/image-quality/main.ts', {
      WELLSPRING_LISTEN: '127.0.0.1:0',
      WELLSPRING_ROOTS: stage.dir,
      WELLSPRING_IMAGEQC_URL: `http://${program.address}`,
    })
    await stage.coordinator('c1', {
      WELLSPRING_SERVICES: `${ImageQualityService.typeName}=${wrapper.address}`,
      WELLSPRING_ROOTS: stage.dir,
    })
    const plan = planOf('P1', layout)
    await stage.client.produce([planRecord(plan), ...imageRecords(plan).map(onDisk(stage.dir))])
    const { missing, duplicate, done, parked } = await stage.untilDone(90_000)
    await program.stop()
    assert.deepEqual([missing, duplicate, done, parked], [0, 0, 22, 2])
    arePoison(await lettersOf(stage), killers)
    assert.ok(program.ends() >= 4 && program.ends() <= 8, `${program.ends()} ends`)
  } finally {
    await stage.close()
  }
})

/** The image as a file; its name says what it does. */
const onDisk =
  (dir: string) =>
  (record: OutgoingRecord): OutgoingRecord => {
    const image = fromBinary(ImageAcquiredSchema, record.value ?? Buffer.alloc(0))
    assert.ok(image.identity)
    const key = entityKey(image.identity)
    const name = `${key.replaceAll('/', '_')}${killers.includes(key) ? '.ends-it' : ''}.tif`
    const bytes = Buffer.from(`II*\0 ${key}`)
    writeFileSync(join(dir, name), bytes)
    const artifact = {
      uri: pathToFileURL(join(dir, name)).href,
      sizeBytes: bytes.length,
      sha256: hex(sha256(bytes)),
    }
    const { identity, channel } = image
    const value = create(ImageAcquiredSchema, { identity, artifact, ...(channel && { channel }) })
    return { ...record, value: toBinary(ImageAcquiredSchema, value) }
  }

test('an image that ends the wrapper itself', async () => {
  const stage = await openStage({ pipeline: 'echo-levels.ts', tasks: 2 })
  try {
    const [killer = ''] = killers
    const wrapper = await supervised(stage, 'test/e2e/ending-echo.ts', (address) => ({
      WELLSPRING_LISTEN: address,
      ENDS_OVER: killer,
    }))
    await stage.coordinator('c1', {
      WELLSPRING_SERVICES: `${EchoService.typeName}=${wrapper.address}`,
    })
    const plan = planOf('P1', layout)
    await stage.client.produce([planRecord(plan), ...imageRecords(plan)])
    const { missing, duplicate, parked } = await stage.untilDone(90_000)
    await wrapper.stop()
    assert.deepEqual([missing, duplicate, parked], [0, 0, 1])
    arePoison(await lettersOf(stage), [killer])
    assert.ok(wrapper.ends() >= 3 && wrapper.ends() <= 5, `${wrapper.ends()} ends`)
  } finally {
    await stage.close()
  }
})
