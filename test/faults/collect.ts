// Evidence of a run that has come to rest: the topics through the Java client, the segment files of the brokers on
// this machine, and the services' logs.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fromBinary } from '@bufbuild/protobuf'
import { CommandSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { DeadLetterSchema } from '#proto/wellspring/record/v1/output_pb.ts'
import type { PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { fetchJars, findJava, JVM_FLAGS } from '../../dev/broker/java.ts'
import type {
  Batch,
  CallLine,
  Circumstances,
  CommittedRecord,
  Evidence,
  JudgedPipeline,
  PartitionEnd,
} from './evidence.ts'
import { readSegments } from './segments.ts'

export type CollectOptions = {
  readonly brokers: readonly string[]
  readonly topicPrefix: string
  readonly pipeline: JudgedPipeline
  /** Logs of the services: one JSON object a line, as CallLine. */
  readonly callLogs: readonly string[]
  readonly circumstances?: Partial<Circumstances>
}

/** Rejects when the topics, the segment files or a log cannot be read. */
export async function collect(options: CollectOptions): Promise<Evidence> {
  const { brokers, topicPrefix, pipeline, callLogs, circumstances } = options
  const { committed, ends, dirs } = await readTopics(brokers, topicPrefix)
  return {
    pipeline,
    plans: plansOf(committed),
    committed,
    batches: longestCopies(dirs.map((dir) => readSegments(dir, topicPrefix))),
    calls: callLogs.flatMap(readCalls),
    ends,
    circumstances: {
      areClocksStepped: false,
      areDigestsLogged: false,
      poisoned: [],
      samples: [],
      ...circumstances,
    },
  }
}

type Line =
  | { readonly kind: 'dir'; readonly path: string }
  | ({ readonly kind: 'end' } & PartitionEnd)
  | ({ readonly kind: 'record' } & Omit<CommittedRecord, 'value'> & {
        readonly value: string | null
      })
  | { readonly kind: 'done' }

export type TopicsRead = {
  readonly committed: CommittedRecord[]
  readonly ends: PartitionEnd[]
  /** Where the brokers keep their segment files. */
  readonly dirs: string[]
}

/** All topics with a prefix, up to their last stable offsets. */
export async function readTopics(
  brokers: readonly string[],
  topicPrefix: string,
): Promise<TopicsRead> {
  const java = await findJava()
  const classPath = await fetchJars('kafka-libs')
  const source = join(import.meta.dirname, 'java', 'Reader.java')
  const args = [...JVM_FLAGS, '-cp', classPath, source, brokers.join(','), topicPrefix]
  const child = spawn(java, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const exited = once(child, 'close')
  let errors = ''
  child.stderr.on('data', (part: Buffer) => (errors = (errors + part.toString()).slice(-4_000)))
  const read: TopicsRead = { committed: [], ends: [], dirs: [] }
  let isDone = false
  for await (const text of createInterface({ input: child.stdout })) {
    const line = JSON.parse(text) as Line
    if (line.kind === 'done') isDone = true
    else take(read, line, topicPrefix.length)
  }
  const [code] = (await exited) as [number | null]
  if (code !== 0 || !isDone)
    throw new Error(
      `The Java reader ended with code ${code} (it is compiled on the way, which needs a whole JDK: ` +
        `Debian: apt install openjdk-17-jdk-headless):\n${errors}`,
    )
  const { committed } = read
  committed.sort(byPlace)
  return read
}

function take(read: TopicsRead, line: Exclude<Line, { kind: 'done' }>, prefixLength: number): void {
  if (line.kind === 'dir') {
    read.dirs.push(text(line.path))
    return
  }
  const topic = line.topic.slice(prefixLength)
  if (line.kind === 'end') {
    const { partition, low, end, lastStable } = line
    read.ends.push({ topic, partition, low, end, lastStable })
    return
  }
  const { partition, offset, timestampMs, key, value } = line
  const headers: Record<string, string> = {}
  for (const [name, bytes] of Object.entries(line.headers)) headers[text(name)] = text(bytes)
  read.committed.push({
    topic,
    partition,
    offset,
    timestampMs,
    key: key === null ? null : text(key),
    value: value === null ? null : Buffer.from(value, 'base64'),
    headers,
  })
}

const text = (base64: string | null): string => Buffer.from(base64 ?? '', 'base64').toString()

function byPlace(a: CommittedRecord, b: CommittedRecord): number {
  if (a.topic !== b.topic) return a.topic < b.topic ? -1 : 1
  return a.partition - b.partition || a.offset - b.offset
}

/** With several brokers each partition has copies; the one that goes furthest holds what the others hold. */
function longestCopies(copies: readonly Batch[][]): Batch[] {
  const longest = new Map<string, Batch[]>()
  for (const copy of copies)
    for (const [place, batches] of Map.groupBy(copy, (one) => `${one.topic}/${one.partition}`)) {
      const known = longest.get(place)?.at(-1)?.lastOffset ?? -1
      if ((batches.at(-1)?.lastOffset ?? -1) > known) longest.set(place, batches)
    }
  return [...longest.values()].flat()
}

/** Plans by plate acquisition, the first of each, without those that were refused. */
function plansOf(committed: readonly CommittedRecord[]): PlatePlan[] {
  const refused = new Set<string>()
  for (const { topic, value } of committed) {
    if (topic !== 'dead-letters.v1' || value === null) continue
    const { origin } = fromBinary(DeadLetterSchema, value)
    if (origin?.topic === 'commands.v1') refused.add(`${origin.partition}/${origin.offset}`)
  }
  const plans = new Map<string, PlatePlan>()
  for (const { topic, partition, offset, value } of committed) {
    if (topic !== 'commands.v1' || value === null || refused.has(`${partition}/${offset}`)) continue
    const { action } = fromBinary(CommandSchema, value)
    if (action.case !== 'plan') continue
    const { experiment, plate, acquisition } = action.value
    const key = `${experiment}/${plate}/${acquisition}`
    if (!plans.has(key)) plans.set(key, action.value)
  }
  return [...plans.values()]
}

/** The last line of a process that was killed may be cut short, and the next process goes on behind it. */
function readCalls(path: string): CallLine[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .flatMap((line) => {
      try {
        return [{ pid: 0, ...(JSON.parse(line) as Omit<CallLine, 'pid'>) }]
      } catch {
        return []
      }
    })
}
