// Input that Kafka deleted before it was read, or whose topic was made anew: what is lost exactly, and whether a person
// has let it go. Nothing is skipped without a count, a name and a person's word.
import { fromBinary } from '@bufbuild/protobuf'
import {
  CommandSchema,
  type AcceptLoss,
  type Command,
} from '#proto/wellspring/record/v1/input_pb.ts'
import { INPUT_TOPICS, type InputTopic } from '@wellspring/kafka/topic-names.ts'
import type { Log } from '../log/port.ts'
import type { LogRecord, Offsets } from '@wellspring/kafka/records.ts'

type Next = Readonly<Record<InputTopic, number>>

/** What is not read any more of one input of a task. */
export type LostInput = {
  readonly topic: InputTopic
  readonly task: number
  /** First offset that was not read. */
  readonly from: number
  /** Where the task would go on; below `from`: the topic was made anew, or cut off. */
  readonly to: number
  /** When it was first noticed, UTC ms. */
  readonly noticedMs: number
}

/** A person's word on a loss. */
export type LetGo = {
  readonly lost: LostInput
  readonly command: Command
  /** End of each input when it was found. */
  readonly until: Next
}

export type Words = {
  readonly letGo: readonly Omit<LetGo, 'until'>[]
  /** Of commands that name another range than what is lost now: in a sentence each, the last few. */
  readonly refused: readonly string[]
}

const REFUSED_MAX = 4

/** Inputs that do not reach back to where the task stands. */
export function lostInputs(
  task: number,
  next: Next,
  listed: Readonly<Record<InputTopic, Offsets>>,
  noticedMs: number,
): LostInput[] {
  return INPUT_TOPICS.flatMap((topic) => {
    const { low, high } = listed[topic]
    const from = next[topic]
    return from >= low && from <= high ? [] : [{ topic, task, from, to: low, noticedMs }]
  })
}

/** The topic was made anew, or cut off at its end: how much is lost nobody can say. */
export function isReset({ from, to }: { readonly from: number; readonly to: number }): boolean {
  return to < from
}

/** Where the task goes on once all of it is let go. */
export function behind(next: Next, lost: readonly LostInput[]): Record<InputTopic, number> {
  const after = { ...next }
  for (const { topic, to } of lost) after[topic] = to
  return after
}

export function sameLoss(
  one: { readonly topic: string; readonly from: number; readonly to: number },
  other: { readonly topic: string; readonly from: number; readonly to: number },
): boolean {
  return one.topic === other.topic && one.from === other.from && one.to === other.to
}

/** Reads the commands of a task that it has not taken in, past the loss: a person's word counts before its turn. */
export async function wordsOn(
  log: Pick<Log, 'readCommands'>,
  task: number,
  { lost, next }: { readonly lost: readonly LostInput[]; readonly next: Next },
): Promise<Words> {
  const letGo = new Map<LostInput, Command>()
  const refused: string[] = []
  const from = behind(next, lost)['commands.v1']
  await log.readCommands(task, from, (record) => {
    const command = acceptLossOf(record)
    if (command?.action.case !== 'acceptLoss') return
    const named = command.action.value
    const match = lost.find((one) => named.partition === task && sameLoss(one, named))
    if (match) letGo.set(match, command)
    else refused.push(refusal(command, named, lost))
  })
  return {
    letGo: [...letGo].map(([one, command]) => ({ lost: one, command })),
    refused: refused.slice(-REFUSED_MAX),
  }
}

function refusal(command: Command, named: AcceptLoss, lost: readonly LostInput[]): string {
  const now = lost
    .filter((one) => one.topic === named.topic)
    .map(({ from, to }) => `${from} to ${to}`)
  return (
    `${command.author} accepted ${named.topic}/${named.partition} ${named.from} to ${named.to}, ` +
    `but ${now.length > 0 ? `${now.join(', ')} is lost now` : 'nothing is lost there'}`
  )
}

/** undefined: another command, or none at all; its turn comes with the others'. */
function acceptLossOf({ value }: LogRecord): Command | undefined {
  if (value === null) return undefined
  try {
    return fromBinary(CommandSchema, value)
  } catch {
    return undefined
  }
}

/** "4 records" of a loss, or that nobody knows. */
export function recordsLost({ from, to }: { readonly from: number; readonly to: number }): number {
  return Math.max(0, to - from)
}
