// What every twin of the log must tell of input that was deleted before it was read, and what helps to find it out.
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import type { Log } from '../../coordinator/log/port.ts'
import { createMember, type LogWorld } from './port.suite.ts'

const tasks = 4

export function deletedSuite(name: string, openWorld: (tasks: number) => Promise<LogWorld>): void {
  suite(`deleted input: ${name}`, () => {
    let world: LogWorld
    const logs: Log[] = []
    before(async () => {
      world = await openWorld(tasks)
    })
    after(async () => {
      for (const one of logs) await one.close()
      await world.close()
    })
    const open = async (instance: string): Promise<Log> => {
      const log = await world.open(instance)
      logs.push(log)
      return log
    }

    test('input that was deleted unread is told of its task alone; offsets say what is lost; the others read on', async () => {
      const log = await open('deleted')
      const member = createMember(log)
      await log.join(member.listener)
      await member.until(() => member.owned.length === tasks)
      const from = (await log.inputOffsets(2))['images.v1'].high
      const other = (await log.inputOffsets(3))['images.v1'].high
      for (let count = 0; count < 4; count += 1)
        await world.produce('images.v1', 2, 'k', `d${count}`)
      await world.deleteBelow('images.v1', 2, from + 3)
      const { low, high } = (await log.inputOffsets(2))['images.v1']
      assert.deepEqual([low, high], [from + 3, from + 4])
      log.resume(2, { 'images.v1': from, 'commands.v1': 0 })
      log.resume(3, { 'images.v1': other, 'commands.v1': 0 })
      await member.until(() => member.outOfRange.length > 0)
      await world.produce('images.v1', 3, 'k', 'of another task')
      await member.until(() => member.delivered.includes('of another task'))
      assert.deepEqual([member.outOfRange, member.crash], [[2], undefined])
      assert.ok(!member.delivered.includes('d3'), 'nothing is skipped')
      log.resume(2, { 'images.v1': low, 'commands.v1': 0 })
      await member.until(() => member.delivered.includes('d3'))
      await log.close()
    })

    test('commands are read apart from their turn, from the first that is there; input has a time', async () => {
      const log = await open('apart')
      const { high } = (await log.inputOffsets(1))['commands.v1']
      for (const text of ['c1', 'c2', 'c3']) await world.produce('commands.v1', 1, 'k', text)
      await world.deleteBelow('commands.v1', 1, high + 1)
      const read: string[] = []
      await log.readCommands(1, high, (one) => void read.push(String(one.value)))
      assert.deepEqual(read, ['c2', 'c3'])
      await log.readCommands(1, high + 2, (one) => void read.push(String(one.value)))
      assert.deepEqual(read, ['c2', 'c3', 'c3'])
      const atMs = await log.inputTime(1, 'commands.v1', high + 1)
      assert.ok(Math.abs(Date.now() - (atMs ?? 0)) < 60_000, `${atMs}`)
      assert.equal(await log.inputTime(1, 'commands.v1', high + 3), undefined)
    })
  })
}
