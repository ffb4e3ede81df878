import { spawn, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import type { Metrics } from './metrics.ts'

export type Job = {
  readonly path: string
  readonly ceiling: number
  /** Grey level to subtract first. */
  readonly offset?: number
}

export type WorkerAnswer =
  | {
      readonly kind: 'measured'
      readonly widthPx: number
      readonly heightPx: number
      readonly bitsPerPixel: number
      readonly metrics: Metrics
      readonly offsetSuspected: boolean
      /** Share of pixels below the offset. */
      readonly belowOffset: number
    }
  | { readonly kind: 'unreadable'; readonly text: string }

/** What becomes of a job. One that timed out or crashed took its worker down. */
export type Outcome =
  | WorkerAnswer
  | { readonly kind: 'timed-out' | 'crashed'; readonly text: string }
  | { readonly kind: 'busy' }

export type Limits = {
  readonly workersMax: number
  /** Jobs that wait for a worker. */
  readonly queueLengthMax: number
  readonly jobTimeMaxMs: number
  readonly jobMemoryMaxMib: number
}

/** A handful of worker processes. A worker that dies takes its one job with it and is replaced. */
export type Workers = {
  run(job: Job): Promise<Outcome>
  close(): void
}

type Waiting = { readonly job: Job; readonly done: (outcome: Outcome) => void }

export function createWorkers(limits: Limits): Workers {
  const idle = new Set<ChildProcess>()
  const all = new Set<ChildProcess>()
  const queue: Waiting[] = []
  let closed = false

  function next(): void {
    if (queue.length === 0 || (idle.size === 0 && all.size >= limits.workersMax)) return
    const waiting = queue.shift()
    if (waiting === undefined) return
    const [worker = started()] = idle
    idle.delete(worker)
    void perform(worker, waiting)
  }

  function started(): ChildProcess {
    const worker = spawnWorker(limits.jobMemoryMaxMib)
    all.add(worker)
    worker.once('close', () => {
      all.delete(worker)
      idle.delete(worker)
      if (!closed) next()
    })
    return worker
  }

  async function perform(worker: ChildProcess, { job, done }: Waiting): Promise<void> {
    let by = worker
    let outcome = await performed(by, job, limits)
    // A worker may have been ended by something else than this file: only the second death is the file's.
    if (outcome.kind === 'crashed') outcome = await performed((by = started()), job, limits)
    if (outcome.kind !== 'crashed' && outcome.kind !== 'timed-out') idle.add(by)
    done(outcome)
    next()
  }

  return {
    run(job) {
      if (queue.length >= limits.queueLengthMax) return Promise.resolve({ kind: 'busy' })
      return new Promise((done) => {
        queue.push({ job, done })
        next()
      })
    },
    close() {
      closed = true
      for (const worker of all) worker.kill('SIGKILL')
    },
  }
}

function performed(worker: ChildProcess, job: Job, limits: Limits): Promise<Outcome> {
  return new Promise((resolve) => {
    const { jobMemoryMaxMib: memory, jobTimeMaxMs: timeMs } = limits
    let end: Outcome = {
      kind: 'crashed',
      text: `the decoder crashed or passed its memory limit of ${memory} MiB`,
    }
    const timer = setTimeout(() => {
      end = { kind: 'timed-out', text: `the decoder passed its time limit of ${timeMs} ms` }
      worker.kill('SIGKILL')
    }, timeMs)
    const onDeath = () => {
      clearTimeout(timer)
      worker.off('message', onAnswer)
      resolve(end)
    }
    const onAnswer = (answer: WorkerAnswer) => {
      clearTimeout(timer)
      worker.off('close', onDeath)
      resolve(answer)
    }
    worker.once('message', onAnswer)
    worker.once('close', onDeath)
    worker.send(job, () => {}) // a send that fails is followed by 'close'
  })
}

// The shell limits private memory, which libvips' own allocations count against, as they do not against node's
// limits. 512 MiB of it are V8's reserve for code, touched or not.
function spawnWorker(memoryMaxMib: number): ChildProcess {
  const script = `ulimit -d ${memoryMaxMib * 1024} && exec "$0" "$@"`
  const worker = join(import.meta.dirname, 'worker.ts')
  return spawn('/bin/sh', ['-c', script, process.execPath, worker], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
}
