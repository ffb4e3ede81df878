// What tells two states of a world apart: everything its future depends on, and nothing else. Epochs count by their
// order only, and what is decided in the log by what a reader sees.
import { fromBinary } from '@bufbuild/protobuf'
import { hex } from '../../coordinator/core/keys.ts'
import { CHECKPOINT_KEY, OWNER_KEY, stateDigest } from '../../coordinator/task/batch.ts'
import type { LogRecord } from '@wellspring/kafka/records.ts'
import { Purity } from '#proto/wellspring/contract/v1/options_pb.ts'
import { CheckpointSchema, OwnerSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import type { World } from './world.ts'

export function keyOf(world: World): string {
  const parts = [world.groupKey(), logKey(world)]
  const effects = [...world.executions.keys()].toSorted()
  const isPure = world.scenario.pipeline.steps.every(
    (step) => step.policy.purity !== Purity.NOT_IDEMPOTENT,
  )
  if (!isPure) parts.push(effects.map((key) => `${key}${world.executions.get(key)}`).join(' '))
  for (const process of world.processes()) {
    const requests = [...process.requests].filter(
      ({ timeOut, what, epoch }) => timeOut || what === 'InitProducerId' || world.isCurrent(epoch),
    )
    if (!process.isAlive && requests.length === 0) {
      parts.push('gone')
      continue
    }
    parts.push(
      process.isAlive ? 'alive' : 'dead',
      String(process.generation === world.generation()),
    )
    for (const { what, told, epoch, timeOut } of requests) {
      const stage = [told === process.told, ageOf(world, epoch), !timeOut]
      parts.push(`${what} ${stage.join(' ')}`)
    }
    if (!process.isAlive) continue
    parts.push([...process.answers].map((one) => one.key).join(' '))
    parts.push(effects.map((key) => String(process.caller.knows(key))).join(' '))
    parts.push(String(ageOf(world, process.epoch)), String(world.broker.hasUnread(process.name)))
    for (let task = 0; task < world.scenario.tasks; task += 1) {
      const engine = process.host.engine(task)
      const state = engine?.state
      parts.push(engine ? `${engine.phase} ${JSON.stringify([engine.load(), engine.next()])}` : '-')
      parts.push(state ? hex(stateDigest(state)) : '-')
      parts.push(engine?.trouble().down()?.trouble.message ?? '')
    }
  }
  return parts.join('\n')
}

/** Of one task's writers one is current and all others are alike. */
function ageOf(world: World, epoch: number): number {
  return world.scenario.tasks > 1 ? epoch : Number(world.isCurrent(epoch))
}

/** A reader keeps the last of each key. */
function logKey(world: World): string {
  const { broker } = world
  const open: string[] = []
  const last = new Map<string, string>()
  for (const topic of ['state.v1', 'results.v1', 'dead-letters.v1'] as const)
    for (const record of broker.written(topic)) {
      const key = record.key?.toString() ?? ''
      if (record.state === 'aborted') continue
      if (key === OWNER_KEY && record.value) {
        const { epoch } = fromBinary(OwnerSchema, record.value)
        last.set(`${record.partition} ${key}`, `${record.state} ${ageOf(world, Number(epoch))}`)
      } else if (record.state === 'open') open.push(textOf(record))
      else last.set(`${record.partition} ${key}`, textOf(record))
    }
  return [...open, ...last.values()].join('\n')
}

const texts = new WeakMap<LogRecord, string>()

function textOf(record: LogRecord): string {
  const known = texts.get(record)
  if (known !== undefined) return known
  const key = record.key?.toString() ?? ''
  let text = `${record.partition} ${key} ${record.value?.toString('base64')}`
  if (key === CHECKPOINT_KEY && record.value) {
    const { flushSeq, next, stateDigest: digest } = fromBinary(CheckpointSchema, record.value)
    text = `${record.partition} ${flushSeq} ${JSON.stringify(next.map((one) => one.next))} ${hex(digest)}`
  }
  texts.set(record, text)
  return text
}
