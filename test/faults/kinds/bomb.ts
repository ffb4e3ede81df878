// Sends batches that are small on the wire and huge once they are opened: one of each codec.
import { taskOf } from '@wellspring/kafka/partition.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RawBatch } from '../batch.ts'
import { bombBatch, BOMBS, type Bomb } from '../bombs.ts'
import type { Ground } from './ground.ts'

export type Bombs = ReadonlyMap<Bomb, RawBatch>

const limits = { betweenMs: 500 } as const
const KEY = 'E/Bomb'

/** Takes some seconds of one core. */
export async function makeBombs(): Promise<Bombs> {
  const bombs = new Map<Bomb, RawBatch>()
  const record = { key: Buffer.from(KEY), headers: [] }
  for (const bomb of BOMBS) bombs.set(bomb, await bombBatch(bomb, record))
  return bombs
}

/** To the inputs by turns, to the partition of a plate that is never worked on and to the one behind it. */
export async function throwBombs(n: number, ground: Ground): Promise<boolean> {
  const { tasks, bombs, produce, notes } = ground
  for (const [at, batch] of [...bombs.values()].entries()) {
    const topic = (n + at) % 2 === 0 ? 'images.v1' : 'commands.v1'
    const partition = (taskOf(KEY, tasks) + n + at) % tasks
    const { code, offset } = await produce(topic, partition, { ...batch, timestampMs: Date.now() })
    if (code !== 0) throw new Error(`a broker did not let a bomb in: code ${code}`)
    notes.bombs.push({ topic, partition, offset })
    await sleep(limits.betweenMs)
  }
  return true
}
