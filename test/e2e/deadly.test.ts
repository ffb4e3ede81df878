// A record that kills whoever reads it: three coordinators die of it, then it is set aside and the plate goes on.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { DeadLetterSchema } from '#proto/wellspring/record/v1/output_pb.ts'
import { DEADLY } from './dies-of-deadly.ts'
import { imageRecords, openStage, planOf, planRecord } from './stage.ts'

test('a record that kills its coordinator three times ends in dead letters, all others are done', async () => {
  const stage = await openStage({ pipeline: 'echo-levels.ts', tasks: 1 })
  let isOver = false
  try {
    const preload = new URL('dies-of-deadly.ts', import.meta.url).href
    const env = { NODE_OPTIONS: `--import=${preload}`, WELLSPRING_SESSION_TIMEOUT_MS: '3000' }
    const plan = planOf('P1', { wells: 2, sites: 2, channels: 3 })
    const [first, ...rest] = imageRecords(plan)
    assert.ok(first?.value)
    const image = fromBinary(ImageAcquiredSchema, first.value)
    const deadly = create(ImageAcquiredSchema, {
      ...image,
      ...(image.artifact && { artifact: { ...image.artifact, uri: `file:///${DEADLY}` } }),
    })
    let deaths = 0
    const supervised = (async (): Promise<void> => {
      for (let born = 1; !isOver; born += 1) {
        const { exited } = await stage.coordinator(`c${born}`, env)
        await exited
        if (!isOver) deaths += 1
      }
    })()
    await stage.client.produce([planRecord(plan), ...rest.slice(0, 4)])
    await sleep(2_000)
    const value = toBinary(ImageAcquiredSchema, deadly)
    await stage.client.produce([...rest.slice(4, 8), { ...first, value }, ...rest.slice(8), first])
    const report = await stage.untilDone(90_000)
    assert.equal(deaths, 3)
    const { missing, duplicate, unplanned, holes } = report
    assert.deepEqual([missing, duplicate, unplanned, holes], [0, 0, 0, 0])
    const letters = []
    for await (const letter of stage.client.readAll('dead-letters.v1'))
      if (letter.value) letters.push(fromBinary(DeadLetterSchema, letter.value))
    assert.deepEqual(
      letters.map(({ failure }) => failure?.reason),
      ['KILLED_ITS_PROCESS'],
    )
    assert.deepEqual(Buffer.from(letters[0]?.originValue ?? []), Buffer.from(value))
    isOver = true
    await stage.close()
    await supervised
  } finally {
    isOver = true
    await stage.close()
  }
})
