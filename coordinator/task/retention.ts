// How far each input of a task is read, and how long until Kafka may delete what is not: said long before it happens.
import type { Clock } from '../clock.ts'
import type { InputSettings } from '@wellspring/kafka/records.ts'
import { INPUT_TOPICS, type InputTopic } from '@wellspring/kafka/topic-names.ts'
import type { Log } from '../log/port.ts'
import type { Logger } from '@wellspring/kafka/logger.ts'

export const limits = {
  lookEveryMs: 60_000,
  /** An input that has less than this left, or than a fifth of the time that it is kept, is warned of. */
  warnBelowMs: 86_400_000,
  warnShare: 0.2,
  warnEveryMs: 600_000,
  /** How quickly a limit of bytes deletes is taken from what it deleted in the last hour. */
  samplesMs: 3_600_000,
} as const

type Next = Readonly<Record<InputTopic, number>>

export type InputLook = {
  readonly topic: InputTopic
  /** Next offset that the task reads; undefined: not known. */
  readonly next: number | undefined
  readonly low: number
  readonly high: number
  /** UTC ms. */
  readonly oldestUnreadMs: number | undefined
  /** Until Kafka may delete what is not read; undefined: nothing is unread, or nobody can say. */
  readonly leftMs: number | undefined
  /** The time for which Kafka keeps a record of it, as far as that is known. */
  readonly keptMs: number | undefined
  readonly misfits: readonly string[]
}

export type InputWatch = {
  /** Rejects with LogError. */
  look(task: number, next: Next | undefined): Promise<InputLook[]>
  close(): void
}

export type InputWatchOptions = {
  readonly log: Pick<Log, 'inputOffsets' | 'inputTime' | 'inputSettings'>
  readonly clock: Clock
  readonly logger: Logger
  /** The tasks that are assigned here, and where each stands. */
  readonly tasks: () => readonly { readonly task: number; readonly next: Next | undefined }[]
}

type Sample = { readonly atMs: number; readonly low: number }

export function openInputWatch(options: InputWatchOptions): InputWatch {
  const { log, clock, logger } = options
  const samples = new Map<string, Sample[]>()
  const warnedMs = new Map<string, number>()
  let isClosed = false

  /** Offsets per ms that were deleted at the beginning of an input, of late. */
  function deletionRate(place: string, low: number): number {
    const atMs = clock.monotonicMs()
    const known = (samples.get(place) ?? []).filter((one) => atMs - one.atMs < limits.samplesMs)
    samples.set(place, [...known, { atMs, low }])
    const [first] = known
    return first && atMs > first.atMs ? Math.max(0, low - first.low) / (atMs - first.atMs) : 0
  }

  async function look(task: number, next: Next | undefined): Promise<InputLook[]> {
    const [offsets, settings] = await Promise.all([log.inputOffsets(task), log.inputSettings()])
    return Promise.all(
      INPUT_TOPICS.map(async (topic): Promise<InputLook> => {
        const { low, high } = offsets[topic]
        const at = next?.[topic]
        const rate = deletionRate(`${topic}/${task}`, low)
        const isBehind = at !== undefined && at < high
        const oldestUnreadMs = isBehind
          ? await log.inputTime(task, topic, Math.max(at, low))
          : undefined
        const kept = settings?.[topic]
        const left = isBehind ? remaining({ at, low, high, rate, oldestUnreadMs, kept }) : {}
        const { leftMs, keptMs } = { leftMs: undefined, keptMs: undefined, ...left }
        const misfits = kept?.misfits ?? []
        return { topic, next: at, low, high, oldestUnreadMs, leftMs, keptMs, misfits }
      }),
    )
  }

  type Unread = {
    readonly at: number
    readonly low: number
    readonly high: number
    readonly rate: number
    readonly oldestUnreadMs: number | undefined
    readonly kept: InputSettings | undefined
  }

  /** By time and by bytes: whichever deletes first. */
  function remaining(unread: Unread): { leftMs?: number; keptMs?: number } {
    const { at, low, high, rate, oldestUnreadMs, kept } = unread
    if (at < low) return { leftMs: 0 }
    const found: { leftMs: number; keptMs: number }[] = []
    if (kept?.retentionMs !== undefined && oldestUnreadMs !== undefined) {
      const leftMs = Math.max(0, oldestUnreadMs + kept.retentionMs - clock.nowMs())
      found.push({ leftMs, keptMs: kept.retentionMs })
    }
    if (kept?.retentionBytes !== undefined && rate > 0)
      found.push({ leftMs: (at - low) / rate, keptMs: (high - low) / rate })
    return found.toSorted((a, b) => a.leftMs - b.leftMs)[0] ?? {}
  }

  function warn(task: number, { topic, leftMs, keptMs = Infinity, next, high }: InputLook): void {
    if (leftMs === undefined || leftMs >= warnBelowMs(keptMs)) return
    const place = `${topic}/${task}`
    const atMs = clock.monotonicMs()
    if (atMs - (warnedMs.get(place) ?? -Infinity) < limits.warnEveryMs) return
    warnedMs.set(place, atMs)
    const unread = high - (next ?? high)
    logger('warn', 'input that is not read may soon be deleted', {
      task,
      topic,
      unread,
      secondsLeft: Math.round(leftMs / 1_000),
      hint: 'npx wellspring tasks says why the task does not read; keep the topic longer meanwhile (retention.ms, retention.bytes)',
    })
  }

  async function round(): Promise<void> {
    for (const { task, next } of options.tasks()) {
      if (isClosed) return
      // Kafka is away: what it keeps is looked at when it is back.
      for (const one of await look(task, next).catch(() => [])) warn(task, one)
    }
    again()
  }

  function again(): void {
    if (!isClosed) clock.after(limits.lookEveryMs, () => void round())
  }

  again()
  return {
    look,
    close() {
      isClosed = true
    },
  }
}

/** What is left of the time that an input is kept, from where on it is warned of. */
export function warnBelowMs(keptMs: number): number {
  return Math.min(limits.warnBelowMs, keptMs * limits.warnShare)
}
