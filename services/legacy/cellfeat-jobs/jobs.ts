import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { Job, Table } from './measure.ts'
import type { WorkerAnswer } from './worker.ts'

/** What the outside sees of a job. */
export type JobState =
  | { readonly kind: 'queued' }
  | { readonly kind: 'running' }
  | { readonly kind: 'done'; readonly table: Table }
  | { readonly kind: 'failed'; readonly error: string }
  | { readonly kind: 'gone' }

export type JobLimits = {
  readonly queueLengthMax: number
  /** An end is shown only this long after it came. */
  readonly lagMs: number
  /** How long an ended job is kept. */
  readonly keptMs: number
}

/** Jobs in memory, run one at a time. Nothing survives the process; the same job twice is two jobs. */
export type Jobs = {
  /** Id of a new job, or undefined when the queue is full. */
  submit(job: Job): string | undefined
  /** Undefined for an id that this process never gave. */
  state(id: string): JobState | undefined
}

export function createJobs(limits: JobLimits): Jobs {
  const states = new Map<string, JobState>()
  const queue: { readonly id: string; readonly job: Job }[] = []
  let worker: Worker | undefined
  let running = false
  let nextId = Date.now() % 1_000_000

  async function work(): Promise<void> {
    if (running) return
    running = true
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      states.set(next.id, { kind: 'running' })
      end(next.id, await perform(next.job))
    }
    running = false
  }

  async function perform(job: Job): Promise<WorkerAnswer> {
    worker ??= new Worker(new URL('worker.ts', import.meta.url))
    worker.postMessage(job)
    try {
      const [answer] = (await once(worker, 'message')) as [WorkerAnswer]
      return answer
    } catch (cause) {
      worker = undefined
      return { error: `worker died: ${String(cause)}` }
    }
  }

  function end(id: string, answer: WorkerAnswer): void {
    const state: JobState =
      'error' in answer ? { kind: 'failed', error: answer.error } : { kind: 'done', table: answer }
    setTimeout(() => states.set(id, state), limits.lagMs)
    setTimeout(() => states.set(id, { kind: 'gone' }), limits.lagMs + limits.keptMs).unref()
  }

  return {
    submit(job) {
      if (queue.length >= limits.queueLengthMax) return undefined
      const id = `job-${nextId++}`
      states.set(id, { kind: 'queued' })
      queue.push({ id, job })
      void work()
      return id
    },
    state: (id) => states.get(id),
  }
}
