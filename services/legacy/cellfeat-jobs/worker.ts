// Measures one job after another, beside the server's thread.
import { parentPort } from 'node:worker_threads'
import { measureObjects, type Job, type Table } from './measure.ts'

export type WorkerAnswer = Table | { readonly error: string }

parentPort?.on('message', (job: Job) => {
  void measureObjects(job)
    .catch((cause: unknown) => ({ error: cause instanceof Error ? cause.message : String(cause) }))
    .then((answer: WorkerAnswer) => parentPort?.postMessage(answer))
})
