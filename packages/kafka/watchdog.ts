// A consumer can go quiet for good without a word (K15): its process must end, so that its supervisor starts it
// again. A broker that is away is no reason to: kafkajs goes on trying, and a new process could do no more.
import type { Logger } from './logger.ts'
import { isRefused } from './connection.ts'
import { asLogError, LogError } from './errors.ts'

/** The silence is counted in so many ticks: a process that was stopped has not been silent. */
const TICKS = 9

export type WatchdogOptions = {
  readonly silentMs: number
  /** Asks the broker past the consumer; rejects when it cannot be reached. */
  readonly probe: () => Promise<unknown>
  readonly logger: Logger
  /** Silent for twice silentMs, with a broker that answered in the middle and at the end. */
  readonly silent: (error: LogError) => void
}

export type Watchdog = {
  /** A sign of life. */
  alive(): void
  close(): void
}

export function startWatchdog({ silentMs, probe, logger, silent }: WatchdogOptions): Watchdog {
  let silentTicks = 0
  let lives = 0
  let isProbing = false
  /** The broker answered since the last sign of life: the consumer has had its chance to find it again. */
  let isReachable = false
  let isAway = false

  async function look(): Promise<void> {
    const life = lives
    let failed: unknown
    const answers = await probe().then(
      () => true,
      (error: unknown) => {
        failed = error
        return false
      },
    )
    if (life !== lives) return
    silentTicks = 0
    if (!answers && !isAway) {
      const what = isRefused(failed) ? 'Kafka refuses to be asked' : 'Kafka cannot be reached'
      logger('warn', `${what}: waiting for it`, { silentMs, error: asLogError(failed).message })
    }
    isAway ||= !answers
    if (answers && isReachable)
      silent(
        new LogError(
          'fatal',
          `The consumer has heard nothing for ${(2 * silentMs) / 1_000} s, although Kafka answers: it must be ` +
            'started again',
        ),
      )
    isReachable = answers
  }

  const timer = setInterval(() => {
    silentTicks += 1
    if (silentTicks < TICKS || isProbing) return
    isProbing = true
    void look().finally(() => (isProbing = false))
  }, silentMs / TICKS).unref()

  return {
    alive() {
      lives += 1
      silentTicks = 0
      isReachable = false
      if (isAway) logger('info', 'Kafka answers again', {})
      isAway = false
    },
    close() {
      lives += 1
      clearInterval(timer)
    },
  }
}
