// What is large of a step run: its output, and the list of what went into it. Small, it is in the run; large, it is in a
// record of its own, so that an entity's record is bounded however many steps it has, and is not written anew with it.
import type { StepRun } from '#proto/wellspring/journal/v1/state_pb.ts'
import { BOUNDED_VERSION, needsVersion, type Task } from './state.ts'

/** Output and inputs that are kept in the run itself, together. */
const INLINE_BYTES_MAX = 1_024
/** Lists inside a record stop here. */
export const LIST_BYTES_MAX = 48_000

/** A run, and the entity that it is of. */
export type Owned = { readonly key: string; readonly run: StepRun }

const NOTHING = new Uint8Array()

/** Response message of the latest published result. */
export function outputOf(task: Task, { key, run }: Owned): Uint8Array {
  if (!run.payloadApart) return run.output
  return task.payloads.get(payloadKey(key, run))?.output ?? NOTHING
}

/** What went into the run under way, as far as it is listed. */
export function inputsOf(task: Task, { key, run }: Owned): readonly string[] {
  if (!run.payloadApart) return run.inputs
  return task.payloads.get(payloadKey(key, run))?.inputs ?? []
}

/** Notes the response of a result that is published. */
export function keepOutput(task: Task, owned: Owned, output: Uint8Array): void {
  keep(task, owned, output, inputsOf(task, owned))
}

/** Notes what goes into a run, as much of it as a record has room for. */
export function keepInputs(task: Task, owned: Owned, inputs: Iterable<string>): void {
  const all = [...inputs]
  const mayFit = lengthOf(all) <= INLINE_BYTES_MAX
  const listed = mayFit ? all : firstOf(all, (one) => Buffer.byteLength(one) + 4)
  leaveOut(owned.run, all.length - listed.length)
  keep(task, owned, outputOf(task, owned), listed)
}

/** The run has ended: what went in was told. */
export function forgetInputs(task: Task, owned: Owned): void {
  leaveOut(owned.run, 0)
  if (inputsOf(task, owned).length > 0) keep(task, owned, outputOf(task, owned), [])
}

/** The entity is forgotten. */
export function forgetPayload(task: Task, { key, run }: Owned): void {
  if (run.payloadApart) task.payloads.drop(payloadKey(key, run))
}

/** Absent is none: most runs are kept without. */
function leaveOut(run: StepRun, inputs: number): void {
  if (inputs > 0) run.inputsLeftOut = inputs
  else delete run.inputsLeftOut
}

function keep(
  task: Task,
  { key, run }: Owned,
  output: Uint8Array,
  inputs: readonly string[],
): void {
  if (output.length + lengthOf(inputs) <= INLINE_BYTES_MAX) {
    if (run.payloadApart) {
      task.payloads.drop(payloadKey(key, run))
      delete run.payloadApart
    }
    run.output = output
    run.inputs = [...inputs]
    return
  }
  const name = payloadKey(key, run)
  const payload = task.payloads.open(name)
  payload.output = output
  payload.inputs = [...inputs]
  task.payloads.touch(name, payload)
  run.payloadApart = true
  run.output = NOTHING
  run.inputs = []
  needsVersion(task, BOUNDED_VERSION)
}

/** Characters of a list, about. */
function lengthOf(inputs: readonly string[]): number {
  let length = 0
  for (const one of inputs) length += one.length + 2
  return length
}

function payloadKey(key: string, run: StepRun): string {
  return `${key}#run.${run.step}`
}

/** The items from the front that fit into a list inside a record. */
export function firstOf<T>(items: readonly T[], bytesOf: (item: T) => number): T[] {
  let bytes = 0
  const kept: T[] = []
  for (const item of items) {
    bytes += bytesOf(item)
    if (bytes > LIST_BYTES_MAX) break
    kept.push(item)
  }
  return kept
}
