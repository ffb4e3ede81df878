// A promise of a task's turn that fails and that nobody waits for: the task is taken over again, its process lives on.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { taskOf } from '@wellspring/kafka/partition.ts'
import { UNSEEN } from './fails-unseen.ts'
import { imageRecords, openStage, planOf, planRecord } from './stage.ts'

test('what fails unseen in a turn of a task ends neither the process nor another task', async () => {
  const stage = await openStage({ pipeline: 'echo-levels.ts', tasks: 2 })
  try {
    const preload = new URL('fails-unseen.ts', import.meta.url).href
    const { exited } = await stage.coordinator('c1', { NODE_OPTIONS: `--import=${preload}` })
    let end = ''
    void exited.then((how) => (end = how))
    const [hit = '', other = ''] = ['P1', 'P2', 'P3', 'P4'].toSorted(
      (a, b) => taskOf(`E/${a}`, 2) - taskOf(`E/${b}`, 2),
    )
    const plans = [hit, other].map((name) => planOf(name, { wells: 2, sites: 1, channels: 1 }))
    const [first, ...rest] = plans.flatMap(imageRecords)
    assert.ok(first?.value)
    const image = fromBinary(ImageAcquiredSchema, first.value)
    if (image.artifact) image.artifact.uri = `file:///${UNSEEN}`
    const value = toBinary(ImageAcquiredSchema, create(ImageAcquiredSchema, image))
    await stage.client.produce([...plans.map(planRecord), { ...first, value }, ...rest])
    const { missing, duplicate, refusedInputs, parked } = await stage.untilDone(60_000)
    assert.deepEqual([missing, duplicate, refusedInputs, parked, end], [0, 0, 0, 0, ''])
    const log = await readFile(join(stage.dir, 'c1.log'), 'utf8')
    const failed = log.split('\n').filter((line) => line.includes('"task failed"'))
    assert.ok(failed.length > 0, log)
    for (const line of failed) {
      assert.match(line, /nobody waits for this/)
      assert.match(line, new RegExp(`"task":${taskOf(`E/${hit}`, 2)}\\b`))
    }
  } finally {
    await stage.close()
  }
})
