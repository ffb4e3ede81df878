// What must hold in every state of a world (T1, T2, T4, I1), and when it rests (T3, T5).
import { fromBinary } from '@bufbuild/protobuf'
import { hex } from '../../coordinator/core/keys.ts'
import { emptyTask, loadState } from '../../coordinator/core/state.ts'
import { CHECKPOINT_KEY, OWNER_KEY, stateDigest } from '../../coordinator/task/batch.ts'
import type { LogRecord } from '@wellspring/kafka/records.ts'
import { CheckpointSchema, OwnerSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import { ended } from './inputs.ts'
import type { World } from './world.ts'

type Task = { seq: number; writer: string; next: Map<string, number> }

/** Reads along while a world goes on. */
export class Judge {
  #world: World
  #flushes = 0
  #tasks = new Map<number, Task>()
  #results = new Set<string>()

  constructor(world: World) {
    this.#world = world
  }

  /** What broke since it last looked. */
  look(isAtRest: boolean): string[] {
    const complaints: string[] = []
    const flushes = this.#world.broker.flushes()
    for (; this.#flushes < flushes.length; this.#flushes += 1)
      complaints.push(...this.#flush(flushes[this.#flushes] ?? []))
    if (isAtRest) complaints.push(...this.#rest())
    return complaints
  }

  #flush(records: readonly LogRecord[]): string[] {
    const complaints: string[] = []
    for (const { topic, partition, key, value } of records) {
      const name = key?.toString() ?? ''
      const task = this.#tasks.get(partition) ?? { seq: 0, writer: '', next: new Map() }
      this.#tasks.set(partition, task)
      if (topic === 'results.v1') {
        if (this.#results.has(name)) complaints.push(`I1 ${name} has two results`)
        this.#results.add(name)
      }
      if (topic !== 'state.v1' || !value) continue
      if (name === OWNER_KEY) {
        const owner = fromBinary(OwnerSchema, value)
        task.writer = `${owner.producerId}/${owner.epoch}`
      }
      if (name !== CHECKPOINT_KEY) continue
      const { flushSeq, producerId, epoch, next, outputs } = fromBinary(CheckpointSchema, value)
      const place = `task ${partition}, flush ${flushSeq}`
      if (flushSeq !== task.seq + 1) complaints.push(`T1 ${place} follows ${task.seq}`)
      task.seq = flushSeq
      if (task.writer !== `${producerId}/${epoch}`)
        complaints.push(`T2 ${place} by ${producerId}/${epoch} after the barrier of ${task.writer}`)
      for (const one of next) {
        if (one.next < (task.next.get(one.topic) ?? 0))
          complaints.push(`T1 ${place} goes back to ${one.next}`)
        task.next.set(one.topic, one.next)
      }
      const others = records.filter((one) => one.topic !== 'state.v1').length
      if (others !== outputs)
        complaints.push(`T4 ${place} announced ${outputs} outputs and has ${others}`)
    }
    return complaints
  }

  #rest(): string[] {
    const complaints: string[] = []
    const { broker, scenario } = this.#world
    for (let task = 0; task < scenario.tasks; task += 1) {
      const state = emptyTask('model', scenario.pipeline)
      for (const { partition, key, value } of broker.committed('state.v1')) {
        const name = key?.toString() ?? ''
        if (partition !== task || name === OWNER_KEY || !value) continue
        if (name !== CHECKPOINT_KEY) {
          loadState(state, name, value)
          continue
        }
        const { flushSeq, stateDigest: digest } = fromBinary(CheckpointSchema, value)
        if (hex(digest) !== hex(stateDigest(state)))
          complaints.push(`T3 task ${task}, flush ${flushSeq} was computed from another state`)
      }
      const mine = this.#world.owner()?.host.engine(task)?.state
      if (mine && hex(stateDigest(mine)) !== hex(stateDigest(state)))
        complaints.push(`T3 task ${task}: its owner believes another state than the log`)
    }
    if (ended(broker) !== scenario.inputs)
      complaints.push(
        `T5 ${ended(broker)} results, dead letters and losses of ${scenario.inputs} inputs`,
      )
    return complaints
  }
}
