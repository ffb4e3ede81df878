// Traces of whole lives, as the decisions make them: every call's traceparent must be a span of the trace that is told.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, toBinary } from '@bufbuild/protobuf'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import type { Span } from '#proto/opentelemetry/proto/trace/v1/trace_pb.ts'
import { PlatePlanSchema } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { CommandSchema, ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { EchoImageResponseSchema } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { StepFailureSchema } from '#proto/wellspring/step/v1/failure_pb.ts'
import { decide } from '../../coordinator/core/decide.ts'
import type { Call, Effect, Event } from '../../coordinator/core/event.ts'
import { hex, traceId } from '../../coordinator/core/keys.ts'
import { emptyTask } from '../../coordinator/core/state.ts'
import { attemptTraceparent, entitySpans, tracedOf } from '../../coordinator/trace/spans.ts'
import { noon, pipeline, plan, plateKey } from '../control/plate.ts'

const at = { topic: 'images.v1', partition: 0, offset: 0, key: 'E1/P1' }
const none = new Uint8Array()
const classes = [ErrorClass.RETRYABLE, ErrorClass.OVERLOADED, ErrorClass.POISON]

test('over many plates with failures and redrives: one root a trace, no orphan, no call without its span', () => {
  let calls = 0
  let redriven = 0
  for (let seed = 1; seed <= 60; seed++) {
    const world = lived(seed)
    const told = new Set([...world.traces.values()].flat().map((span) => hex(span.spanId)))
    for (const call of world.calls) {
      const name = { ...call, n: call.trace, step: call.step.name }
      const [, trace = '', span = ''] = attemptTraceparent('test', name).split('-')
      const which = `seed ${seed}: ${call.entity} ${name.step} g${call.generation} a${call.attempt}`
      assert.ok(world.traces.has(trace), `${which}: its trace is never told`)
      assert.ok(told.has(span), `${which}: has no span`)
    }
    calls += world.calls.length
    redriven += world.calls.filter((call) => call.generation > 1).length
  }
  assert.ok(
    calls > 500 && redriven > 20,
    `${calls} calls, ${redriven} redriven: too little happens`,
  )
})

type World = { readonly calls: readonly Call[]; readonly traces: ReadonlyMap<string, Span[]> }

/** A plate from plan and images to its end, redriven until all is done; time jumps from event to event. */
function lived(seed: number): World {
  const dice = diceOf(seed)
  const task = emptyTask('test', pipeline)
  const queue: { atMs: number; event: Event }[] = []
  const calls: Call[] = []
  const traces = new Map<string, Span[]>()
  let now = noon

  function outcomeOf(call: Call): Event {
    const startedMs = now + Math.floor(dice() * 50)
    const timing = {
      startedMs,
      endedMs: startedMs + Math.floor(dice() * 400),
      replica: '127.0.0.1:7001',
    }
    const failing = dice()
    const output = toBinary(
      EchoImageResponseSchema,
      create(EchoImageResponseSchema, { digest: 'd'.repeat(64) }),
    )
    const failure = create(StepFailureSchema, {
      class: classes[Math.floor(dice() * 3)] ?? ErrorClass.RETRYABLE,
      reason: 'WHY',
    })
    const { entity, idempotencyKey, step } = call
    const outcome =
      failing < 0.4
        ? ({ kind: 'failed', failure, timing } as const)
        : ({ kind: 'done', output, timing } as const)
    return { kind: 'outcome', entity, step: step.name, idempotencyKey, outcome }
  }

  function follow(effect: Effect): void {
    if (effect.kind === 'timer') {
      const { entity, completeness, atMs } = effect
      queue.push({ atMs, event: { kind: 'timer', entity, completeness } })
    } else if (effect.kind === 'call') {
      calls.push(effect)
      const event = outcomeOf(effect)
      const endedMs = event.kind === 'outcome' ? event.outcome.timing.endedMs : now
      queue.push({ atMs: endedMs, event })
    } else if (effect.kind === 'completed') {
      const traced = tracedOf(task, effect.entity)
      assert.ok(traced)
      const id = traceId('test', effect.entity, effect.trace)
      const spans = entitySpans(traced)
      assert.equal(hex(spans[0]?.traceId ?? none), id, 'the trace told is the one the calls named')
      assertWhole(spans, `seed ${seed}, ${effect.entity}`)
      // An image redriven at one step and then at another tells its trace again, longer.
      traces.set(id, [...(traces.get(id) ?? []), ...spans])
    }
  }

  const happen = (event: Event): void => decide(task, event, now, dice).forEach(follow)
  function untilQuiet(): void {
    for (;;) {
      queue.sort((a, b) => a.atMs - b.atMs)
      const next = queue.shift()
      if (!next) return
      now = Math.max(now, Math.ceil(next.atMs))
      happen(next.event)
    }
  }
  const command = (action: Parameters<typeof commandOf>[0]): void => happen(commandOf(action))
  command({ case: 'plan', value: create(PlatePlanSchema, plan) })
  for (const site of [1, 2])
    for (const channel of ['DNA', 'ER'])
      queue.push({ atMs: noon + Math.floor(dice() * 3_000), event: imageEvent(site, channel) })
  for (let redrives = 0; redrives < 3; redrives++) {
    untilQuiet()
    now += 60_000
    for (const site of [1, 2])
      command({ case: 'redrive', value: { entity: `${plateKey}/B07/t0/s${site}`, step: '' } })
  }
  untilQuiet()
  return { calls, traces }
}

type Action =
  | { case: 'plan'; value: ReturnType<typeof create<typeof PlatePlanSchema>> }
  | { case: 'redrive'; value: { entity: string; step: string } }

function commandOf(action: Action): Event {
  return { kind: 'command', command: create(CommandSchema, { action }), at, bytes: none }
}

function imageEvent(site: number, channel: string): Event {
  const image = create(ImageAcquiredSchema, {
    identity: {
      experiment: 'E1',
      plate: 'P1',
      acquisition: 'a1',
      well: 'B07',
      timePoint: 0,
      site,
      z: 0,
      channel,
    },
    artifact: { uri: `file:///${site}-${channel}.tif`, sizeBytes: 1, sha256: 'a'.repeat(64) },
    channel: { name: channel },
  })
  return { kind: 'image', image, traceparent: '', at, bytes: none }
}

function assertWhole(spans: readonly Span[], which: string): void {
  const ids = new Set(spans.map((span) => hex(span.spanId)))
  assert.equal(ids.size, spans.length, `${which}: span ids are unique`)
  assert.equal(
    spans.filter((span) => span.parentSpanId.length === 0).length,
    1,
    `${which}: one root`,
  )
  for (const span of spans.slice(1))
    assert.ok(ids.has(hex(span.parentSpanId)), `${which}: ${span.name} is an orphan`)
}

function diceOf(seed: number): () => number {
  let state = seed
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
}
