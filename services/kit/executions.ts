// Executions by idempotency key: one at a time per key in a process, living apart from the callers that wait for it.
import { setTimeout as sleep } from 'node:timers/promises'
import { checkBinding, type Binding } from './binding.ts'
import type { Answers, Effects } from './effects.ts'
import { ended, full, type EndReason } from './errors.ts'
import { logError } from './log.ts'

export type Job = {
  /** What the execution is of, for messages: method and entity. */
  readonly method: string
  readonly entity: string
  readonly key: string
  /** What the key stands for. */
  readonly binding: Binding
  /** performance.now() at which it must have ended; a caller that joins may move it on. */
  readonly deadline: number
  readonly slots: Slots
  /** It may end the program: to be worked on while nothing else is. */
  readonly alone?: boolean
  /** Where the answer goes on record, if the method wants that. */
  readonly effects: Effects | undefined
  /** Does the work; returns the encoded response. */
  work(execution: Execution): Promise<Uint8Array>
}

/** How many executions a method may have at once, has, and how long they take (moving average). */
export type Slots = { readonly max: number; used: number; meanMs: number }

export type Execution = {
  readonly signal: AbortSignal
  remainingMs(): number
  /** Whether nothing else was worked on since it began. */
  isAlone(): boolean
}

/** Somebody who waits. Whoever made it sets left, then calls onLeft if there is one. */
export type Caller = {
  left: boolean
  onLeft: (() => void) | undefined
  /** How the caller was served, or is: by an execution of its own, another's, or an old answer. */
  dedup: 'miss' | 'joined' | 'replayed'
}

export type Executions = {
  /** Replays the key's answer, joins its execution, or starts one. */
  run(job: Job, caller: Caller): Promise<Uint8Array>
  /** Ends a key's execution; false when there is none. */
  cancel(key: string): boolean
  /** Ends all executions and waits for their handlers to stop, at most timeoutMs. */
  close(timeoutMs: number): Promise<void>
}

const ignoredAbortMs = 10_000
const retryAfterMs = { min: 50, max: 5_000 } as const

export function createExecutions(orphanGraceMs: number, answers: Answers): Executions {
  const running = new Map<string, Running>()
  /** Callers that want, or have, all of the program to themselves. */
  let solitary = 0
  let starts = 0

  function start(job: Job): Running {
    const { slots } = job
    if (solitary > 0 && job.alone !== true)
      throw full(`${job.method} works on one call alone`, Math.max(slots.meanMs, retryAfterMs.min))
    if (slots.used >= slots.max) {
      const retry = Math.min(Math.max(slots.meanMs, retryAfterMs.min), retryAfterMs.max)
      throw full(`${job.method} works on ${slots.used} calls, its limit`, retry)
    }
    starts += 1
    const number = starts
    const wasIdle = running.size === 0
    const isAlone = (): boolean => wasIdle && starts === number
    const execution = new Running(job, orphanGraceMs, isAlone)
    running.set(job.key, execution)
    execution.begin(answers, () => running.delete(job.key))
    return execution
  }

  /** Until one of those that run has ended, at most until the deadline. */
  async function less(job: Job): Promise<void> {
    const limit = new AbortController()
    const patienceMs = Math.max(0, job.deadline - performance.now())
    const patience = sleep(patienceMs, undefined, { ref: false, signal: limit.signal })
    await Promise.race([patience, ...[...running.values()].map(({ settled }) => settled)])
    limit.abort()
  }

  async function runAlone(job: Job, caller: Caller): Promise<Uint8Array> {
    solitary += 1
    try {
      return await run(job, caller)
    } finally {
      solitary -= 1
    }
  }

  async function run(job: Job, caller: Caller): Promise<Uint8Array> {
    for (;;) {
      if (caller.left) throw ended('CANCELLED', `the caller of ${job.method} left`)
      if (performance.now() >= job.deadline)
        throw ended('DEADLINE_EXCEEDED', `no time was left for ${job.method} of ${job.entity}`)
      const answer = answers.get(job.key)
      if (answer !== undefined) {
        checkBinding(job.key, job.binding, answer.binding)
        caller.dedup = 'replayed'
        return answer.bytes
      }
      const execution = running.get(job.key)
      if (execution === undefined && job.alone === true && running.size > 0) {
        await less(job)
        continue
      }
      if (execution === undefined) {
        const started = start(job)
        const bytes = await started.wait(job, caller)
        if (started.replayed) caller.dedup = 'replayed'
        return bytes
      }
      checkBinding(job.key, job.binding, execution.job.binding)
      if (!execution.ended) {
        caller.dedup = 'joined'
        return await execution.wait(job, caller)
      }
      // It was told to end and has not yet: never two of one key at a time.
      const patienceMs = job.deadline - performance.now()
      await Promise.race([execution.settled, sleep(patienceMs, undefined, { ref: false })])
    }
  }

  return {
    run: (job, caller) => (job.alone === true ? runAlone(job, caller) : run(job, caller)),
    cancel: (key) => running.get(key)?.end('CANCELLED', 'it was cancelled') ?? false,
    async close(timeoutMs) {
      const all = [...running.values()]
      for (const execution of all) execution.end('DRAINING', 'its service went down')
      const limit = new AbortController()
      const stopped = Promise.all(all.map((execution) => execution.settled))
      await Promise.race([stopped, sleep(timeoutMs, undefined, { signal: limit.signal })])
      limit.abort()
    },
  }
}

class Running implements Execution {
  readonly job: Job
  readonly isAlone: () => boolean
  readonly #orphanGraceMs: number
  readonly #outcome = Promise.withResolvers<Uint8Array>()
  settled: Promise<void> = Promise.resolve()
  /** Whether the answer came from the record of an earlier execution. */
  replayed = false
  ended = false
  #finished = false
  #controller: AbortController | undefined
  #reason: Error | undefined
  #callers = 0
  #deadline: number
  #deadlineTimer: NodeJS.Timeout | undefined
  #orphanTimer: NodeJS.Timeout | undefined

  constructor(job: Job, orphanGraceMs: number, isAlone: () => boolean) {
    this.job = job
    this.isAlone = isAlone
    this.#orphanGraceMs = orphanGraceMs
    this.#deadline = job.deadline
    this.#outcome.promise.catch(() => {}) // the last caller may have left
  }

  /** Made when first asked for: most handlers of small steps never look. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#reason !== undefined) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  remainingMs(): number {
    return Math.max(0, Math.floor(this.#deadline - performance.now())) // timers take whole ms
  }

  begin(answers: Answers, onSettled: () => void): void {
    const { slots } = this.job
    const started = performance.now()
    slots.used += 1
    this.#startTimer()
    this.settled = this.#perform(answers)
      .then(this.#outcome.resolve, this.#outcome.reject)
      .then(() => {
        this.#finished = true
        clearTimeout(this.#deadlineTimer)
        clearTimeout(this.#orphanTimer)
        slots.used -= 1
        slots.meanMs += (performance.now() - started - slots.meanMs) * 0.1
        onSettled()
      })
  }

  async #perform(answers: Answers): Promise<Uint8Array> {
    const { key, binding, effects } = this.job
    let bytes = await effects?.read(key, binding)
    this.replayed = bytes !== undefined
    if (bytes === undefined) {
      bytes = await this.job.work(this)
      if (effects !== undefined) bytes = await effects.write(key, binding, bytes)
    }
    answers.set(key, { binding, bytes })
    return bytes
  }

  wait(job: Job, caller: Caller): Promise<Uint8Array> {
    this.#callers += 1
    clearTimeout(this.#orphanTimer)
    if (job.deadline > this.#deadline) {
      this.#deadline = job.deadline
      this.#startTimer()
    }
    caller.onLeft = () => this.#leave()
    return this.#outcome.promise
  }

  #leave(): void {
    this.#callers -= 1
    if (this.#callers > 0 || this.#finished || this.ended) return
    const grace = this.#orphanGraceMs
    const end = (): boolean => this.end('CANCELLED', `nobody has waited for it for ${grace} ms`)
    this.#orphanTimer = setTimeout(end, grace)
  }

  #startTimer(): void {
    clearTimeout(this.#deadlineTimer)
    const end = (): boolean => this.end('DEADLINE_EXCEEDED', 'its deadline has come')
    this.#deadlineTimer = setTimeout(end, this.remainingMs())
  }

  /** Answers all callers at once and tells the handler to stop. Whatever it still throws is our doing, not news. */
  end(reason: EndReason, why: string): boolean {
    if (this.#finished || this.ended) return false
    this.ended = true
    const { method, entity } = this.job
    this.#reason = ended(reason, `${method} of ${entity} was ended: ${why}`)
    this.#outcome.reject(this.#reason)
    this.#controller?.abort(this.#reason)
    const complain = setTimeout(() => {
      if (!this.#finished)
        logError(`${method} of ${entity} goes on although ended: its handler ignores call.signal`)
    }, ignoredAbortMs)
    complain.unref()
    return true
  }
}
