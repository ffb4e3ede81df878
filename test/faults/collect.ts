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
} from './evidence.ts'
import { readTopics } from './reader.ts'
import { readSegments } from './segments.ts'

export type CollectOptions = {
  readonly brokers: readonly string[]
  readonly topicPrefix: string
  readonly pipeline: JudgedPipeline
  /** Logs of the services: one JSON object a line, as CallLine. */
  readonly callLogs: readonly string[]
  /** Topics that are not held. */
  readonly leaveOut?: readonly string[]
  readonly circumstances?: Partial<Circumstances>
}

/** Rejects when the topics, the segment files or a log cannot be read. */
export async function collect(options: CollectOptions): Promise<Evidence> {
  const { brokers, topicPrefix, pipeline, callLogs, leaveOut = [], circumstances } = options
  const { committed, ends, dirs } = await readTopics(brokers, topicPrefix, leaveOut)
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
