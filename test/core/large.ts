// The largest that the contracts admit, through the real intake, core and flush, without a broker: what is written is
// measured by a rule of its own.
import assert from 'node:assert/strict'
import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf'
import { durationFromMs } from '@bufbuild/protobuf/wkt'
import { Code } from '#proto/google/rpc/code_pb.ts'
import type { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import type { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { PlatePlanSchema, type PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import {
  CommandSchema,
  ImageAcquiredSchema,
  type Command,
} from '#proto/wellspring/record/v1/input_pb.ts'
import { StepFailureSchema } from '#proto/wellspring/step/v1/failure_pb.ts'
import { decide } from '../../coordinator/core/decide.ts'
import type { Call, Effect, Event, Outcome } from '../../coordinator/core/event.ts'
import { hex, sha256 } from '../../coordinator/core/keys.ts'
import { parseEntity } from '@wellspring/lab/entity.ts'
import type { Pipeline } from '../../coordinator/core/pipeline/pipeline.ts'
import { restored } from '../../coordinator/core/restore.ts'
import { allRecords, emptyTask, loadState } from '../../coordinator/core/state.ts'
import {
  addOutput,
  addRecord,
  emptyBatch,
  flushRecords,
  stateDigest,
  type Batch,
} from '../../coordinator/task/batch.ts'
import { openIntake } from '../../coordinator/task/intake.ts'
import { limits } from '../../coordinator/task/limits.ts'
import type { InputTopic } from '@wellspring/kafka/topic-names.ts'
import type { NewRecord } from '@wellspring/kafka/records.ts'
import { statusBoard } from '../../coordinator/task/status.ts'
import { spansRecord } from '../../coordinator/trace/records.ts'
import { rootTraceparent } from '../../coordinator/trace/spans.ts'

/** What is written of one record at most: 256 KiB, with its key and headers. */
export const RECORD_BYTES_MAX = 262_144

export const longId = (letter: string): string => letter.repeat(192)
/** As long as ids may be. */
export const PLATE = [longId('E'), longId('P'), longId('a')].join('/')
const UINT32_MAX = 4_294_967_295
export const wide = '😀'
/** What a header may hold before it is a traceparent, and behind it. */
const TRACEPARENT = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01${'-x'.repeat(150_000)}`

export type Large = ReturnType<typeof openLarge>

export type Size = { readonly bytes: number; readonly key: string }

/** A pipeline that goes on for so many attempts, however long they take. */
export function patient(pipeline: Pipeline, attemptsMax: number): Pipeline {
  const steps = pipeline.steps.map((step) => ({
    ...step,
    policy: { ...step.policy, attemptsMax, totalTimeoutMs: 1e12 },
  }))
  return {
    ...pipeline,
    steps,
    at: (level: Level) => steps.filter(({ policy }) => policy.level === level),
  }
}

export function planOf(fields: {
  readonly wells: { well: string; treatment?: string; sites?: number[] }[]
  readonly sites?: number[]
  readonly timePoints?: number[]
  readonly zPlanes?: number[]
  readonly channels?: string[]
}): PlatePlan {
  const [experiment = '', plate = '', acquisition = ''] = PLATE.split('/')
  const { channels = [longId('c')], wells, ...rest } = fields
  const plan: MessageInitShape<typeof PlatePlanSchema> = {
    experiment,
    plate,
    acquisition,
    wells,
    sites: [UINT32_MAX],
    timePoints: [UINT32_MAX],
    zPlanes: [UINT32_MAX],
    completeness: { quorum: 1, quorumAfter: durationFromMs(1e9), deadline: durationFromMs(1e9) },
    channels: channels.map((name) => ({ name, kind: 1, detectorCeiling: UINT32_MAX })),
    ...rest,
  }
  return create(PlatePlanSchema, plan)
}

export function openLarge(pipeline: Pipeline) {
  let task = emptyTask('large', pipeline)
  let batch: Batch = emptyBatch()
  let now = 1_700_000_000_000.5
  let offset = 0
  let due: (() => void)[] = []
  const calls: Call[] = []
  const timers: Extract<Effect, { kind: 'timer' }>[] = []
  /** The largest record of each topic. */
  const sizes = new Map<string, Size>()
  const letters: NewRecord[] = []
  const clock = {
    nowMs: () => now,
    monotonicMs: () => now,
    after(_: number, run: () => void) {
      due.push(run)
      return () => {}
    },
  }
  const intake = openIntake({ task: 0, tasks: 1, clock, logger: () => {} })
  const board = statusBoard(clock, limits, () => {})

  function perform(effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'call') calls.push(effect)
      if (effect.kind === 'timer') timers.push(effect)
      if (effect.kind === 'output')
        addOutput(batch, 0, effect, rootTraceparent('large', effect.entity, effect.trace))
      const trace = effect.kind === 'completed' ? spansRecord(task, effect.entity, 0) : undefined
      if (trace) addRecord(batch, trace)
    }
  }
  const happen = (event: Event): void => perform(decide(task, event, now, () => 0.5))

  function take(topic: InputTopic, value: Uint8Array): void {
    offset += 1
    const event = intake.eventOf({
      topic,
      partition: 0,
      offset,
      key: Buffer.from('k'.repeat(100_000)),
      value: Buffer.from(value),
      headers: { traceparent: TRACEPARENT },
    })
    assert.ok(event.kind !== 'unreadable', event.kind === 'unreadable' ? event.message : '')
    happen(event)
  }

  /** Writes what has changed; every record must fit. */
  function flush(): readonly NewRecord[] {
    for (const run of due.splice(0)) run()
    board.into(batch, 0, task)
    const head = {
      task: 0,
      flushSeq: Number.MAX_SAFE_INTEGER,
      next: { 'images.v1': offset, 'commands.v1': offset },
      writer: { producerId: Number.MAX_SAFE_INTEGER, epoch: 32_767 },
      withStateDigest: false,
      crashGuard: { began: [], strikes: 0 },
    }
    const records = flushRecords(batch, task, head)
    board.changed(records)
    batch = emptyBatch()
    for (const record of records) {
      const bytes = sizeOf(record)
      if (bytes > (sizes.get(record.topic)?.bytes ?? 0))
        sizes.set(record.topic, { bytes, key: record.key })
      assert.ok(bytes <= RECORD_BYTES_MAX, `${record.topic} ${record.key}: ${bytes} bytes`)
      if (record.topic === 'dead-letters.v1') letters.push(record)
    }
    return records
  }

  function answer(call: Call, outcome: Outcome): void {
    calls.splice(calls.indexOf(call), 1)
    happen({
      kind: 'outcome',
      entity: call.entity,
      step: call.step.name,
      idempotencyKey: call.idempotencyKey,
      outcome,
    })
  }
  const timing = { startedMs: now, endedMs: now + 0.25, replica: wide.repeat(500) }

  return {
    calls,
    sizes,
    letters,
    flush,
    happen,
    task: () => task,
    command(action: Command['action']): void {
      const command = create(CommandSchema, {
        id: wide.repeat(64),
        author: wide.repeat(128),
        reason: wide.repeat(512),
        action,
      })
      take('commands.v1', toBinary(CommandSchema, command))
    },
    /** An image that says as much as it may. */
    announce(entity: string): void {
      const identity = parseEntity(entity)
      const image = create(ImageAcquiredSchema, {
        identity,
        channel: { name: identity.channel ?? '', kind: 1, detectorCeiling: UINT32_MAX },
        artifact: {
          uri: wide.repeat(2_048),
          sizeBytes: Number.MAX_SAFE_INTEGER,
          sha256: hex(sha256(Buffer.from(entity))),
          mediaType: wide.repeat(128),
        },
        instrument: wide.repeat(128),
      })
      take('images.v1', toBinary(ImageAcquiredSchema, image))
    },
    /** Fails all that is under way, in words that are as long as they come; due again at once. */
    fail(reason: string, errorClass: ErrorClass): void {
      const failure = create(StepFailureSchema, {
        class: errorClass,
        code: Code.UNAVAILABLE,
        reason: reason + wide.repeat(1_000),
        message: reason + wide.repeat(10_000),
        hint: wide.repeat(1_000),
        replica: wide.repeat(1_000),
      })
      for (const call of calls.slice())
        answer(call, { kind: 'failed', failure, retryAfterMs: 1, timing })
      now += 10_000.25
      for (const { entity, completeness } of timers.splice(0))
        happen({ kind: 'timer', entity, completeness })
    },
    /** Answers all that is under way with as much as a response may hold. */
    answerAll(output: Uint8Array): void {
      for (let call = calls[0]; call; call = calls[0])
        answer(call, { kind: 'done', output, timing })
    },
    /** The same of what is under way now, and not of what that leads to. */
    answerNow(output: Uint8Array): void {
      for (const call of calls.slice()) answer(call, { kind: 'done', output, timing })
    },
    /** Fires the timers of sweeps and the like. */
    fire(): void {
      for (const { entity, completeness, atMs } of timers.splice(0))
        if (!completeness && atMs <= now) happen({ kind: 'timer', entity, completeness })
    },
    /** What another process finds. */
    takeOver(): void {
      flush()
      const all = allRecords(task)
      const before = hex(stateDigest(task))
      task = emptyTask('large', pipeline)
      for (const [key, value] of all) loadState(task, key, Buffer.from(value))
      assert.equal(hex(stateDigest(task)), before)
      calls.length = 0
      timers.length = 0
      perform(restored(task, now, () => 0.5))
    },
  }
}

function sizeOf({ key, value, headers }: NewRecord): number {
  const named = Object.entries(headers).map(([name, text]) => name + text)
  return 64 + Buffer.byteLength(key + named.join('')) + (value?.length ?? 0)
}
