// A plate told as a story: events in, effects out, calls answered by hand. No clock, no broker.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { durationFromMs } from '@bufbuild/protobuf/wkt'
import { Code } from '#proto/google/rpc/code_pb.ts'
import type { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { PlatePlanSchema } from '#proto/wellspring/lab/v1/plan_pb.ts'
import {
  CommandSchema,
  ImageAcquiredSchema,
  type Command,
} from '#proto/wellspring/record/v1/input_pb.ts'
import {
  DeadLetterSchema,
  LevelClosedSchema,
  StepResultSchema,
  type DeadLetter,
  type LevelClosed,
  type StepResult,
} from '#proto/wellspring/record/v1/output_pb.ts'
import { StepFailureSchema } from '#proto/wellspring/step/v1/failure_pb.ts'
import { EchoImageResponseSchema } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { decide } from '../../coordinator/core/decide.ts'
import type { Call, Effect, Event, Outcome } from '../../coordinator/core/event.ts'
import { hex, sha256 } from '../../coordinator/core/keys.ts'
import { parseEntity } from '@wellspring/lab/entity.ts'
import { wellAt } from '@wellspring/lab/wells.ts'
import type { Pipeline } from '../../coordinator/core/pipeline/pipeline.ts'
import { restored } from '../../coordinator/core/restore.ts'
import { allRecords, emptyTask, loadState, takeChanges } from '../../coordinator/core/state.ts'

export const PLATE = 'E/P/a1'
export const QUORUM_MS = 10_000
export const DEADLINE_MS = 30_000

export type Story = ReturnType<typeof story>

/** A01, A02, …, B01, … */
export function wellsOf(wells: number): string[] {
  return Array.from({ length: wells }, (_, at) => wellAt(1 + Math.floor(at / 24), 1 + (at % 24)))
}

/** One plate of wells A01…, two sites, channels DNA and RNA, under a pipeline. */
export function story(pipeline: Pipeline, wells = 1, retireAfterMs = Infinity) {
  const bounds = { retireAfterMs, recordsPerEvent: 100 }
  let task = emptyTask('test', pipeline, bounds)
  let offset = 0
  let now = 1_000_000
  const calls: Call[] = []
  const outputs: Extract<Effect, { kind: 'output' }>[] = []
  const timers: { entity: string; atMs: number; completeness: boolean }[] = []
  const completed: string[] = []

  function perform(effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'call') calls.push(effect)
      if (effect.kind === 'output') outputs.push(effect)
      if (effect.kind === 'timer') timers.push(effect)
      if (effect.kind === 'completed') completed.push(`${effect.entity}#${effect.trace}`)
    }
  }
  const happen = (event: Event): void => perform(decide(task, event, now, () => 0.5))
  const at = (topic: string) => ({ topic, partition: 0, offset: (offset += 1), key: 'E/P' })

  function answer(call: Call, outcome: DistributiveOmit<Outcome, 'timing'>): void {
    calls.splice(calls.indexOf(call), 1)
    const timing = { startedMs: now, endedMs: now + 1, replica: 'test' }
    const whole = { ...outcome, timing } as Outcome
    happen({
      kind: 'outcome',
      entity: call.entity,
      step: call.step.name,
      idempotencyKey: call.idempotencyKey,
      outcome: whole,
    })
  }

  return {
    calls,
    timers,
    completed,
    task: () => task,
    later(ms: number): void {
      now += ms
    },
    plan(quorum = 0.5, sites = [1, 2]): void {
      const plan = create(PlatePlanSchema, {
        experiment: 'E',
        plate: 'P',
        acquisition: 'a1',
        wells: wellsOf(wells).map((well) => ({ well })),
        sites,
        timePoints: [0],
        zPlanes: [0],
        channels: [
          { name: 'DNA', kind: ChannelKind.NUCLEI },
          { name: 'RNA', kind: ChannelKind.FLUORESCENCE },
        ],
        completeness: {
          quorum,
          quorumAfter: durationFromMs(QUORUM_MS),
          deadline: durationFromMs(DEADLINE_MS),
        },
      })
      this.command({ case: 'plan', value: plan })
    },
    command(action: Command['action']): void {
      const command = create(CommandSchema, { action })
      happen({ kind: 'command', command, at: at('commands.v1'), bytes: new Uint8Array() })
    },
    /** Announces images by their names within the plate, for instance "A01/t0/s1/z0/DNA". */
    announce(names: readonly string[], content = ''): void {
      for (const name of names) {
        const identity = parseEntity(`${PLATE}/${name}`)
        const channel = {
          name: identity.channel ?? '',
          kind: identity.channel === 'DNA' ? ChannelKind.NUCLEI : ChannelKind.FLUORESCENCE,
        }
        const artifact = {
          uri: `file:///${name}`,
          sizeBytes: 1,
          sha256: hex(sha256(Buffer.from(name + content))),
        }
        const image = create(ImageAcquiredSchema, { identity, channel, artifact })
        happen({
          kind: 'image',
          image,
          traceparent: '',
          at: at('images.v1'),
          bytes: Buffer.from(name),
        })
      }
    },
    answer,
    /** Answers every call that is under way, and those it leads to, well. */
    answerAll(): void {
      for (let call = calls[0]; call; call = calls[0]) {
        const digest = hex(sha256(Buffer.from(call.idempotencyKey)))
        const output = toBinary(
          EchoImageResponseSchema,
          create(EchoImageResponseSchema, { digest }),
        )
        answer(call, { kind: 'done', output })
      }
    },
    fail(call: Call, failure: { class: ErrorClass; reason: string }, retryAfterMs?: number): void {
      const whole = create(StepFailureSchema, { ...failure, code: Code.UNKNOWN })
      answer(call, {
        kind: 'failed',
        failure: whole,
        ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      })
    },
    /** Fires the timers that are due. */
    fire(): void {
      for (const timer of timers.splice(0)) {
        if (timer.atMs > now) timers.push(timer)
        else happen({ kind: 'timer', entity: timer.entity, completeness: timer.completeness })
      }
    },
    /** Forgets everything that is not in state, as a take-over does. */
    takeOver(): void {
      takeChanges(task)
      const all = allRecords(task)
      task = emptyTask('test', pipeline, bounds)
      for (const [key, value] of all) loadState(task, key, value)
      calls.length = 0
      timers.length = 0
      perform(restored(task, now, () => 0.5))
    },
    results: (): StepResult[] =>
      of(outputs, StepResultSchema.typeName).map((one) => fromBinary(StepResultSchema, one.value)),
    closes: (): LevelClosed[] =>
      of(outputs, LevelClosedSchema.typeName).map((one) =>
        fromBinary(LevelClosedSchema, one.value),
      ),
    letters: (): DeadLetter[] =>
      of(outputs, DeadLetterSchema.typeName).map((one) => fromBinary(DeadLetterSchema, one.value)),
    keys: (): string[] => outputs.map((one) => `${one.topic} ${one.key}`),
  }
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never

function of<O extends { type: string }>(outputs: readonly O[], type: string): O[] {
  return outputs.filter((one) => one.type === type)
}

export const IMAGES = [
  'A01/t0/s1/z0/DNA',
  'A01/t0/s1/z0/RNA',
  'A01/t0/s2/z0/DNA',
  'A01/t0/s2/z0/RNA',
] as const
