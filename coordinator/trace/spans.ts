// Spans as a pure function of state: whoever takes a task over can only repeat the same bytes. One bounded trace per
// entity, whose leaves (waits and attempts) tile the time from the first moment to the last outcome.
import { create } from '@bufbuild/protobuf'
import {
  Span_SpanKind as Kind,
  Status_StatusCode,
  StatusSchema,
  type Span,
} from '#proto/opentelemetry/proto/trace/v1/trace_pb.ts'
import { Level, LevelSchema } from '#proto/wellspring/contract/v1/options_pb.ts'
import { RunState } from '#proto/wellspring/journal/v1/state_pb.ts'
import { ClosedBySchema } from '#proto/wellspring/record/v1/output_pb.ts'
import { failureOf } from '../core/attempts.ts'
import { levelOf, parseEntity } from '@wellspring/lab/entity.ts'
import { spanId, traceId } from '../core/keys.ts'
import { imageOf, lifeOf, membersOf, traceNumberOf } from '../core/life.ts'
import type { Pipeline } from '../core/pipeline/pipeline.ts'
import type { Task } from '../core/state.ts'
import { latestRuns, traceNumber, type Life, type RunTime } from '../core/timeline.ts'
import { wordOf } from '../core/view/word.ts'
import { attributes, bytesOf, failedStatus, nanos, rootLink, traceparentLink } from './build.ts'
import { beyond, runParts, wait, type Part } from './parts.ts'

/** Bounds of a trace. linksMax is what OpenTelemetry SDKs and backends keep by default. */
const limits = { spansMax: 128, linksMax: 128, runsMax: 16, attemptsMax: 32 } as const

export type Traced = {
  readonly application: string
  readonly pipeline: Pipeline
  readonly entity: string
  readonly view: Life & {
    /** Of an image. */
    readonly uri?: string
    /** Of an image: traceparent of the record that announced it. */
    readonly originTraceparent?: string
    /** Of a group: trace ids of its first 128 members, hex, and how many more members it has. */
    readonly memberTraces?: readonly string[]
    readonly linksLeftOut?: number
  }
}

/**
 * The spans of an entity's latest trace, root first, at most 128: under the root the waiting for siblings and a span per
 * step, under each step its waits and one CLIENT span per attempt. What does not fit is summarised, oldest first.
 * Attempts under way are left out: call it when the entity's runs have ended.
 */
export function entitySpans(traced: Traced): Span[] {
  let attemptsMax: number = limits.attemptsMax
  let spans = build(traced, attemptsMax)
  while (spans.length > limits.spansMax && attemptsMax > 1) {
    // An attempt has at most three spans: two waits and its call.
    const over = (spans.length - limits.spansMax) / (3 * limits.runsMax)
    attemptsMax = Math.max(1, attemptsMax - Math.ceil(over))
    spans = build(traced, attemptsMax)
  }
  return spans
}

/** What entitySpans wants, from a task's state; undefined if the task has no state of the entity. */
export function tracedOf(task: Task, entity: string): Traced | undefined {
  const life = lifeOf(task, entity)
  if (!life) return undefined
  const { application, pipeline } = task
  const base = { application, pipeline, entity }
  if (levelOf(entity) === Level.IMAGE) {
    const image = imageOf(task, entity)
    const uri = image?.artifact?.uri ?? ''
    return { ...base, view: { ...life, uri, originTraceparent: image?.originTraceparent ?? '' } }
  }
  const members = membersOf(task, entity)
  const memberTraces = members.slice(0, limits.linksMax).flatMap((member) => {
    const n = traceNumberOf(task, member)
    return n === undefined ? [] : [traceId(application, member, n)]
  })
  const linksLeftOut = members.length - limits.linksMax
  return { ...base, view: { ...life, memberTraces, linksLeftOut } }
}

/** Trace id of an entity's latest trace, 32 hex digits. */
export function entityTrace(application: string, entity: string, life: Life): string {
  return traceId(application, entity, traceNumber(life))
}

/** Names an attempt: entity, number of its trace (see traceNumber), step, generation, attempt. */
export type AttemptName = {
  readonly entity: string
  readonly n: number
  readonly step: string
  readonly generation: number
  readonly attempt: number
}

/** W3C trace context of an attempt's CLIENT span, for the call's metadata: the wrapper's span becomes its child. */
export function attemptTraceparent(application: string, name: AttemptName): string {
  const trace = traceId(application, name.entity, name.n)
  const part = `attempt ${name.step} g${name.generation} a${name.attempt}`
  return `00-${trace}-${spanId(trace, part)}-01`
}

/** Trace context of an entity's root span, for records about it. */
export function rootTraceparent(application: string, entity: string, n: number): string {
  const trace = traceId(application, entity, n)
  return `00-${trace}-${spanId(trace, 'root')}-01`
}

function build(traced: Traced, attemptsMax: number): Span[] {
  const { application, pipeline, entity, view } = traced
  const trace = entityTrace(application, entity, view)
  const traceBytes = bytesOf(trace)
  const { fromMs, runs } = latestRuns(view, 0)
  const shown = runs.slice(0, limits.runsMax)
  const children: Span[] = []
  const ids = new Map<string, Uint8Array>()
  const idOf = (part: string): Uint8Array => {
    const known = ids.get(part) ?? bytesOf(spanId(trace, part))
    ids.set(part, known)
    return known
  }
  const make = (part: Part): Span => ({
    $typeName: 'opentelemetry.proto.trace.v1.Span',
    traceId: traceBytes,
    spanId: idOf(part.part),
    traceState: '',
    parentSpanId: part.parent ? idOf(part.parent) : nothing,
    flags: 1,
    name: part.name,
    kind: part.kind ?? Kind.INTERNAL,
    startTimeUnixNano: nanos(part.fromMs),
    endTimeUnixNano: nanos(part.toMs),
    attributes: attributes({ 'wellspring.entity': part.isWait ? '' : entity, ...part.attributes }),
    droppedAttributesCount: 0,
    events: [],
    droppedEventsCount: 0,
    links: part.links ?? [],
    droppedLinksCount: 0,
    status: part.status,
  })
  for (const part of rootWaits(view, fromMs, runs)) children.push(make(part))
  for (const time of shown) {
    const step = pipeline.steps[time.run.step]
    if (!step) continue
    const method = `${step.method.parent.typeName}/${step.method.name}`
    for (const part of runParts({ time, step: step.name, method, attemptsMax }))
      children.push(make(part))
  }
  const closedMs = view.close?.atMs ?? fromMs
  const toMs = runs.reduce((last, time) => Math.max(last, time.toMs), Math.max(fromMs, closedMs))
  const root = make({ ...rootPart(traced, runs), fromMs, toMs })
  return [root, ...children]
}

function rootPart(traced: Traced, runs: readonly RunTime[]): Omit<Part, 'fromMs' | 'toMs'> {
  const { application, pipeline, entity, view } = traced
  const level = wordOf(LevelSchema, levelOf(entity)).toLowerCase()
  const { experiment, plate, acquisition, well, timePoint, site, z, channel } = parseEntity(entity)
  const parked = runs.find((time) => time.run.state === RunState.PARKED)
  const members = view.memberTraces ?? []
  const announced = view.originTraceparent ?? ''
  // Announced by ingest: that names this very trace, and a link to itself says nothing.
  const isOwn = announced.includes(entityTrace(application, entity, view))
  const origin = isOwn ? undefined : traceparentLink(announced)
  return {
    part: 'root',
    name: `${level} ${pipeline.name}`,
    attributes: {
      'wellspring.pipeline': pipeline.label,
      'wellspring.experiment': experiment,
      'wellspring.plate': plate,
      'wellspring.acquisition': acquisition,
      'wellspring.well': well,
      'wellspring.time_point': timePoint,
      'wellspring.site': site,
      'wellspring.z': z,
      'wellspring.channel': channel,
      'wellspring.uri': view.uri,
      'wellspring.revision': view.close?.revision,
      'wellspring.closed_by': view.close && wordOf(ClosedBySchema, view.close.closedBy),
      'wellspring.members.expected': view.close?.expected,
      'wellspring.members.done': view.close?.done,
      'wellspring.members.links_left_out': beyond(view.linksLeftOut ?? 0, 0),
      'wellspring.steps.left_out': beyond(runs.length, limits.runsMax),
    },
    links: [...(origin ? [origin] : []), ...members.map(rootLink)],
    status: parked ? failedStatus(failureOf(parked.run)) : okStatus,
  }
}

const nothing = new Uint8Array()
const okStatus = create(StatusSchema, { code: Status_StatusCode.OK })

/** Waiting for siblings, and the stretches that neither it nor any step covers. */
function rootWaits(view: Life, fromMs: number, runs: readonly RunTime[]): Part[] {
  const parts: Part[] = []
  let at = fromMs
  if (view.close && view.close.atMs > at) {
    parts.push(
      wait('siblings', 'siblings', { kind: 'siblings', fromMs: at, toMs: view.close.atMs }),
    )
    at = view.close.atMs
  }
  for (const time of runs.toSorted((a, b) => a.fromMs - b.fromMs)) {
    if (time.fromMs > at)
      parts.push(
        wait('queue', `queue ${parts.length}`, { kind: 'queue', fromMs: at, toMs: time.fromMs }),
      )
    at = Math.max(at, time.toMs)
  }
  return parts
}
