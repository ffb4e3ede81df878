// Records the changelog that today's code writes, as a fixture that must restore for ever (journal.test.ts):
//   node test/task/record-journal.ts [retire | late | attempts] > test/task/journals/<version>.json
// Once for every released journal version, never again: a fixture that is recorded anew proves nothing.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { durationFromMs } from '@bufbuild/protobuf/wkt'
import { CheckpointSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { PlatePlanSchema } from '#proto/wellspring/lab/v1/plan_pb.ts'
import {
  CommandSchema,
  ImageAcquiredSchema,
  type Command,
} from '#proto/wellspring/record/v1/input_pb.ts'
import type { Fault } from '../../coordinator/calls/memory.ts'
import type { CallRequest } from '../../coordinator/calls/port.ts'
import { isAdopting } from '../../coordinator/core/adopt.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { hex, sha256 } from '../../coordinator/core/keys.ts'
import { parseEntity, partitionKey } from '@wellspring/lab/entity.ts'
import { wellAt } from '@wellspring/lab/wells.ts'
import { emptyTask, loadState, type Task } from '../../coordinator/core/state.ts'
import { CHECKPOINT_KEY } from '../../coordinator/task/batch.ts'
import type { LogRecord } from '@wellspring/kafka/records.ts'
import { pipeline as levels } from '../pipelines/echo-levels.ts'
import { EPOCH_MS, openWorld, type World } from '../sim/world.ts'
import { decodedState } from './journal.ts'

const pipeline = loadPipeline(levels)
/** A plate-wide command on 16 wells takes more than a flush, and so does a plan that comes after all its images. */
const LARGE = new Set(['swept', 'early'])
const wellsOf = (plate: string): string[] =>
  Array.from({ length: LARGE.has(plate) ? 16 : 2 }, (_, at) => wellAt(1, at + 1))
const sitesOf = (plate: string): number[] => (LARGE.has(plate) ? [1] : [1, 2])
const zOf = (plate: string): number[] =>
  plate === 'stack' ? Array.from({ length: 60 }, (_, at) => at) : [0]
const LAST_MS = 60_000

/** Where attempts go on for long: their texts, and a site of many images, were kept whole up to journal version 3. */
const longest = 'Äpfel 苹果 🍎 '.repeat(60)
let busy = 0

function longFaultOf({ entity, attempt }: CallRequest): Fault | undefined {
  const [, plate] = entity.split('/')
  const message = `attempt ${attempt} of ${entity}: ${longest}`
  if (plate === 'tried') {
    const retryAfterMs = attempt < 4 ? 1_000 : 3_600_000
    return { kind: 'fail', reason: 'NOT_YET', message, retryAfterMs }
  }
  if (plate === 'busy') {
    busy += 1
    return { kind: 'fail', reason: 'BUSY', message, retryAfterMs: busy < 160 ? 900 : 3_600_000 }
  }
  // Four of their attempts are spent when the log ends; the fifth, and what comes behind, is for those that restore it.
  if (plate === 'stack')
    return {
      kind: 'fail',
      reason: 'NOT_YET',
      message: message.slice(0, 200),
      retryAfterMs: attempt < 4 ? 1_000 : 3_600_000,
    }
  return undefined
}

/** Every kind of standing once: what happens to the images of each plate. */
function faultOf(request: CallRequest): Fault | undefined {
  const { entity } = request
  const [, plate, , well] = entity.split('/')
  const isFirst = entity.endsWith('A01/t0/s1/z0/DNA')
  if (plate === 'parked' && isFirst) return { kind: 'fail', reason: 'BAD_DATA' }
  if (plate === 'swept' && well) return { kind: 'fail', reason: 'BAD_DATA' }
  if (plate === 'running') return { kind: 'hang' }
  if (plate === 'backoff') return { kind: 'fail', reason: 'NOT_YET', retryAfterMs: 3_600_000 }
  return longFaultOf(request)
}

function command(world: World, plate: string, atMs: number, action: Command['action']): void {
  const value = toBinary(CommandSchema, create(CommandSchema, { action }))
  world.after(atMs, () => world.broker.produce('commands.v1', 0, `E/${plate}`, value))
}

function plan(world: World, plate: string, atMs: number): void {
  const value = create(PlatePlanSchema, {
    experiment: 'E',
    plate,
    acquisition: 'a1',
    wells: wellsOf(plate).map((well) => ({ well })),
    sites: sitesOf(plate),
    timePoints: [0],
    zPlanes: zOf(plate),
    channels: [{ name: 'DNA', kind: ChannelKind.NUCLEI }],
    completeness: {
      quorum: 0.9,
      quorumAfter: durationFromMs(5_000),
      deadline: durationFromMs(plate === 'awaited' ? 3_600_000 : 10_000),
    },
  })
  command(world, plate, atMs, { case: 'plan', value })
}

function images(world: World, plate: string, atMs: number, some: (name: string) => boolean): void {
  for (const well of wellsOf(plate))
    for (const [site, z] of sitesOf(plate).flatMap((one) => zOf(plate).map((z) => [one, z]))) {
      const name = `E/${plate}/a1/${well}/t0/s${site}/z${z}/DNA`
      if (!some(name)) continue
      const image = create(ImageAcquiredSchema, {
        identity: parseEntity(name),
        channel: { name: 'DNA', kind: ChannelKind.NUCLEI },
        artifact: { uri: `file:///${name}`, sizeBytes: 1, sha256: hex(sha256(Buffer.from(name))) },
      })
      const value = toBinary(ImageAcquiredSchema, image)
      world.after(atMs, () => world.broker.produce('images.v1', 0, partitionKey(name), value))
    }
}

/** What is under way at the end. */
type Kind = 'sweep' | 'retire' | 'late' | 'attempts'

/** The committed changelog of a world in which every kind of standing occurs, up to the flush that shows all. */
async function record(kind: Kind): Promise<LogRecord[]> {
  const retireAfterMs = kind === 'sweep' || kind === 'attempts' ? Infinity : 8_000
  const world = openWorld({ seed: 1, tasks: 1, pipeline, script: faultOf, retireAfterMs })
  world.start()
  world.after(1, () => world.rebalance())
  for (const plate of ['done', 'parked', 'late', 'swept', 'running', 'backoff', 'awaited'])
    plan(world, plate, 10)
  for (const plate of ['done', 'parked', 'swept', 'running', 'backoff', 'unplanned'])
    images(world, plate, 100, () => true)
  images(world, 'awaited', 100, (name) => name.includes('/A01/'))
  images(world, 'late', 100, (name) => !name.includes('A02/t0/s2'))
  images(world, 'late', 20_000, (name) => name.includes('A02/t0/s2'))
  if (kind === 'late') {
    images(world, 'early', 100, () => true)
    plan(world, 'early', 30_000)
  }
  if (kind === 'attempts')
    for (const plate of ['tried', 'busy', 'stack']) {
      plan(world, plate, 10)
      images(world, plate, 100, (name) => plate !== 'stack' || name.includes('/A01/t0/s1/'))
    }
  const redrive = (entity: string): Command['action'] => ({
    case: 'redrive',
    value: { $typeName: 'wellspring.record.v1.Redrive', entity, step: '' },
  })
  command(world, 'parked', 20_000, redrive('E/parked/a1/A01/t0/s1/z0/DNA'))
  command(world, 'swept', 40_000, redrive('E/swept/a1'))
  await world.run(LAST_MS, () => false)
  const log = world.broker.committed('state.v1')
  const seen = emptyTask('sim', pipeline)
  const end = log.findIndex(({ key, value }) => {
    const name = key?.toString() ?? ''
    if (!name.startsWith('#')) loadState(seen, name, value)
    return name === CHECKPOINT_KEY && isWhole(seen, kind)
  })
  if (end < 0) throw new Error('the world never showed all at once')
  const whole = log.slice(0, end + 1)
  return kind === 'attempts' ? compacted(whole) : whole
}

/** As Kafka leaves it: the last record of each key. */
function compacted(log: readonly LogRecord[]): LogRecord[] {
  const last = new Map(log.map(({ key }, at) => [key?.toString(), at]))
  return log.filter(({ key }, at) => last.get(key?.toString()) === at)
}

/**
 * A plate-wide command is under way; or, where plates are retired, one is and another was; or wells wait to be taken up
 * under a plan that came late.
 */
function isWhole(task: Task, kind: Kind): boolean {
  if (kind === 'late') return isAdopting(task, 'E/early/a1')
  const plates = [...task.plates.keys()].map((key) => task.plates.get(key))
  if (kind === 'sweep') return plates.some((plate) => plate?.sweep)
  if (kind === 'attempts') return plates.some((plate) => plate?.sweep) && isTriedLong(task)
  const retired = plates.flatMap((plate) => plate?.retired ?? [])
  return retired.length > 1 && retired.some((one) => one.nextWell !== undefined)
}

/** Every run of the plates that are tried for long waits out an hour. */
function isTriedLong(task: Task): boolean {
  const runs = [...task.sites.keys()]
    .filter((key) => /^E\/(tried|busy|stack)\//.test(key))
    .flatMap((key) => task.sites.get(key)?.images.map((image) => image.runs[0]) ?? [])
  const isBusyLong = runs.some((run) => run?.attempts.length === 32)
  return isBusyLong && runs.every((run) => run && run.dueMs > EPOCH_MS + LAST_MS)
}

const kinds: readonly Kind[] = ['retire', 'late', 'attempts']
const log = await record(kinds.find((kind) => process.argv.includes(kind)) ?? 'sweep')
const checkpoint = log.at(-1)
if (!checkpoint?.value) throw new Error('a flush ends with its checkpoint')
const { journalVersion, flushSeq, ...rest } = fromBinary(CheckpointSchema, checkpoint.value)
const next = Object.fromEntries(rest.next.map((one) => [one.topic, one.next]))
const lines = (all: unknown[]): string => all.map((one) => JSON.stringify(one)).join(',\n')
const records = log.map(({ key, value }) => [key?.toString(), value?.toString('base64') ?? null])
const state = Object.entries(decodedState(pipeline, log))
console.log(
  `{"journalVersion":${journalVersion},"flushSeq":${flushSeq},"next":${JSON.stringify(next)},\n` +
    `"records":[\n${lines(records)}\n],\n"state":[\n${lines(state)}\n]}`,
)
