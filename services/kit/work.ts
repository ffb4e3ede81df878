// Makes the Call that a handler works with, and clears up after it.
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CallContext } from '#proto/wellspring/step/v1/call_pb.ts'
import { NotReady, type Roots } from './artifacts.ts'
import type { Call } from './call.ts'
import { failureOf, messageCharsMax, type ErrorTable } from './errors.ts'
import type { Execution } from './executions.ts'
import { removeLeft } from './files.ts'
import { makeTemporary, publish } from './store.ts'
import type { TraceSpan } from './trace.ts'

export type WorkOptions = {
  readonly context: CallContext
  readonly span: TraceSpan
  readonly execution: Execution
  readonly errors: ErrorTable
  readonly roots: Roots
  readonly store: string | undefined
  /** Largest file that is published. */
  readonly artifactBytesMax: number
}

export type Work = {
  readonly call: Call
  /** Removes what the call left behind. */
  end(): Promise<void>
}

export function beginWork(options: WorkOptions): Work {
  const { context, execution, errors, roots, store, span } = options
  const temporary: string[] = []
  const open: TraceSpan[] = [span]
  const call: Call = {
    get signal() {
      return execution.signal
    },
    remainingMs: () => execution.remainingMs(),
    idempotencyKey: context.idempotencyKey,
    get traceparent() {
      return (open.at(-1) ?? span).traceparent
    },
    fail(reason, message, { retryAfterMs, endedProgram } = {}) {
      const isAlone = endedProgram === 'own' || execution.isAlone()
      const ended = endedProgram && (isAlone ? 'alone' : 'among-others')
      return errors.fail(reason, message, retryAfterMs, ended)
    },
    async openArtifact(artifact) {
      try {
        return await roots.open(artifact, execution.signal)
      } catch (error) {
        if (error instanceof NotReady) throw errors.fail('ARTIFACT_NOT_READY', error.message)
        throw error
      }
    },
    async publish(files) {
      if (store === undefined) throw new Error('Cannot publish: WELLSPRING_STORE is not set')
      const bytesMax = options.artifactBytesMax
      return await publish({ store, context, movable: temporary, bytesMax }, files)
    },
    async tempDir() {
      const path =
        store === undefined
          ? await mkdtemp(join(tmpdir(), 'wellspring-'))
          : await makeTemporary(store)
      temporary.push(path)
      return path
    },
    async legacy(name, attributes, run) {
      const child = span.child(`legacy ${name}`, { ...identify(context), ...attributes })
      open.push(child)
      try {
        const result = await run(child.traceparent)
        child.end()
        return result
      } catch (error) {
        const { reason, message } = failureOf(error)
        child.set({ 'wellspring.error.reason': reason })
        child.end(message.slice(0, messageCharsMax))
        throw error
      } finally {
        open.splice(open.indexOf(child), 1)
      }
    },
  }
  return {
    call,
    async end() {
      for (const path of temporary) await removeLeft(path)
    },
  }
}

/** What every span of a call carries, so that a backend finds it by either. */
function identify(context: CallContext): Record<string, string> {
  return { 'wellspring.entity': context.entity, 'wellspring.step': context.step }
}
