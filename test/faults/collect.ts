// Evidence of a run that has come to rest: the topics through the Java client, the segment files of the brokers on
// this machine, and the services' logs.
import { readFileSync } from 'node:fs'
import { fromBinary } from '@bufbuild/protobuf'
import { CommandSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { DeadLetterSchema } from '#proto/wellspring/record/v1/output_pb.ts'
import type { PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { mergeCopies } from './copies.ts'
import type {
  CallLine,
  Circumstances,
  CommittedRecord,
  Evidence,
  JudgedPipeline,
  PartitionEnd,
  Position,
} from './evidence.ts'
import { byPlace, readTopics } from './reader.ts'
import { readRecords } from './segment-records.ts'
import { readSegments } from './segments.ts'

export type CollectOptions = {
  readonly brokers: readonly string[]
  readonly topicPrefix: string
  readonly pipeline: JudgedPipeline
  /** Logs of the services: one JSON object a line, as CallLine. */
  readonly callLogs: readonly string[]
  /** Topics that are not held. */
  readonly leaveOut?: readonly string[]
  /** Batches of one record that are not read. */
  readonly unopened?: readonly Position[]
  readonly circumstances?: Partial<Circumstances>
}

/** Rejects when the topics, the segment files or a log cannot be read. */
export async function collect(options: CollectOptions): Promise<Evidence> {
  const { topicPrefix, pipeline, callLogs, leaveOut = [], circumstances } = options
  const { committed: shown, ends, dirs } = await readTopics(options)
  const committed = [...shown, ...deleted(ends, dirs[0] ?? '', topicPrefix)].toSorted(byPlace)
  const copies = dirs.map((dir) =>
    readSegments(dir, topicPrefix).filter(({ topic }) => !leaveOut.includes(topic)),
  )
  const { batches, differences } = mergeCopies(copies)
  return {
    pipeline,
    plans: plansOf(committed),
    committed,
    batches,
    calls: callLogs.flatMap(readCalls),
    ends,
    circumstances: {
      areClocksStepped: false,
      digestEvery: 0,
      poisoned: [],
      isCompacted: false,
      samples: [],
      log: [],
      copiesDiffer: differences,
      ...circumstances,
    },
  }
}

/** Input records that are no longer shown: they were read, or lost. */
function deleted(
  ends: readonly PartitionEnd[],
  dataDir: string,
  topicPrefix: string,
): CommittedRecord[] {
  return ends
    .filter(({ topic, low }) => low > 0 && ['images.v1', 'commands.v1'].includes(topic))
    .flatMap(({ topic, partition, low: below }) =>
      readRecords(dataDir, { topicPrefix, topic, partition, below }),
    )
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
    const plan = planIn(value)
    if (!plan) continue
    const { experiment, plate, acquisition } = plan
    const key = `${experiment}/${plate}/${acquisition}`
    if (!plans.has(key)) plans.set(key, plan)
  }
  return [...plans.values()]
}

/** Anything may be in an input; what nobody refused is judged elsewhere. */
function planIn(value: Uint8Array): PlatePlan | undefined {
  try {
    const { action } = fromBinary(CommandSchema, value)
    return action.case === 'plan' ? action.value : undefined
  } catch {
    return undefined
  }
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
