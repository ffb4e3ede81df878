// Which plates and wells changed since their status last left; status.v1 gets each at most once a second.
import { toBinary } from '@bufbuild/protobuf'
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { EntityStatusSchema } from '#proto/wellspring/record/v1/output_pb.ts'
import { levelOf } from '@wellspring/lab/entity.ts'
import { isRetired, type Task } from '../core/state.ts'
import { plateStatus, wellStatus } from '../core/view/view.ts'
import { addRecord, type Batch } from './batch.ts'
import type { Clock } from '../clock.ts'
import type { Limits } from './limits.ts'
import type { NewRecord } from '@wellspring/kafka/records.ts'

/** After a take-over, a plate that was retired so long ago is not told again. */
const RETIRED_TOLD_MS = 86_400_000

export type StatusBoard = {
  /** Everything is news: after a take-over. */
  all(state: Task): void
  /** Notes the plates and wells that a flush changed. */
  changed(records: readonly NewRecord[]): void
  isDue(): boolean
  /** Adds what is due to a batch. */
  into(batch: Batch, task: number, state: Task): void
  clear(): void
}

/** `wake` is called when something falls due. */
export function statusBoard(clock: Clock, limits: Limits, wake: () => void): StatusBoard {
  let dirty = new Set<string>()
  let due: string[] = []
  let cancel: (() => void) | undefined

  function arm(): void {
    if (cancel || dirty.size === 0) return
    cancel = clock.after(limits.statusEveryMs, () => {
      cancel = undefined
      due = [...new Set([...due, ...dirty])]
      dirty = new Set()
      wake()
    })
  }

  return {
    all(state) {
      for (const key of state.plates.keys()) {
        const retiredMs = state.plates.get(key)?.retired?.atMs ?? Infinity
        // Of the plates that were retired long ago, the last word is there.
        if (clock.nowMs() - retiredMs < RETIRED_TOLD_MS) dirty.add(key)
      }
      for (const key of state.wells.keys()) dirty.add(key)
      arm()
    },
    changed(records) {
      for (const { topic, key } of records) {
        if (topic !== 'state.v1' || key.includes('#')) continue
        if (levelOf(key) === Level.SITE) continue
        dirty.add(key)
      }
      arm()
    },
    isDue: () => due.length > 0,
    into(batch, task, state) {
      for (const key of due.splice(0, limits.statusPerFlushMax)) {
        addRecord(batch, {
          topic: 'status.v1',
          partition: task,
          key,
          value: statusOf(state, key, clock.nowMs()),
          headers: { 'wellspring-type': EntityStatusSchema.typeName },
        })
      }
    },
    clear() {
      cancel?.()
      cancel = undefined
      dirty = new Set()
      due = []
    },
  }
}

/** null: a well of a retired plate, which is told no more. */
function statusOf(state: Task, key: string, nowMs: number): Uint8Array | null {
  if (levelOf(key) === Level.PLATE)
    return toBinary(EntityStatusSchema, plateStatus(state, key, nowMs))
  if (isRetired(state, key)) return null
  return toBinary(EntityStatusSchema, wellStatus(state, key, nowMs))
}
