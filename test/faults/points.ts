// Preload of a coordinator (`node --import ./test/faults/points.ts coordinator/main.ts`): kills the process with -9 at
// a named point, by wrapping the requests of kafkajs's Broker, and shifts its clock. Production code knows nothing of
// it. WELLSPRING_KILL_AT="flush:after-produce#3" arms it at the start; FAULTS_CONTROL names a file that does later.
import { appendFileSync, readFileSync, statSync } from 'node:fs'
import { modules } from '@wellspring/kafka/patches.ts'

/** before: not yet sent; sent: on its way, the answer never seen; after: answered, the answer not yet used. */
const MOMENTS = ['before', 'sent', 'after'] as const

/** Requests per stage of a task's life. */
const STAGES = {
  group: ['join', 'sync', 'heartbeat'],
  fence: ['init'],
  barrier: ['add', 'produce', 'end'],
  restore: ['fetch'],
  flush: ['add', 'produce', 'end'],
} as const

/** Every point a coordinator can be killed at, as `stage:moment-request`. */
export const POINTS: readonly string[] = Object.entries(STAGES).flatMap(([stage, requests]) =>
  requests.flatMap((request) => MOMENTS.map((moment) => `${stage}:${moment}-${request}`)),
)

/** Points that come by again and again while there is work; the others need a take-over. */
export function isOfFlush(point: string): boolean {
  return point.startsWith('flush:') || point.endsWith('-heartbeat')
}

/** What FAULTS_CONTROL holds, as JSON. */
export type Control = {
  /** `<point>#<n>`: at the n-th time from now on. */
  readonly killAt?: string
  readonly clockShiftMs?: number
}

type Named = { readonly transactionalId?: string | null }
type Fetching = { readonly topics: readonly { readonly topic: string }[] }
type Request = (this: unknown, request: Named & Partial<Fetching>) => Promise<unknown>
type Method =
  | 'joinGroup'
  | 'syncGroup'
  | 'heartbeat'
  | 'initProducerId'
  | 'addPartitionsToTxn'
  | 'produce'
  | 'endTxn'
  | 'fetch'

const CONTROL_EVERY_MS = 50

const controlFile = process.env['FAULTS_CONTROL']
const hitsFile = process.env['FAULTS_HITS']
let armed: { point: string; left: number } | undefined
let clockShiftMs = 0
let readMs = 0

// Only in a coordinator: others import the table.
if (controlFile !== undefined || process.env['WELLSPRING_KILL_AT'] !== undefined) {
  wrapRequests()
  shiftDate()
  arm(process.env['WELLSPRING_KILL_AT'])
  readControl()
  setInterval(readControl, CONTROL_EVERY_MS).unref()
}

function wrapRequests(): void {
  const { prototype } = modules.load<{ prototype: Record<Method, Request> }>('broker')
  /** Transactional ids whose barrier has been committed: what follows is a flush. */
  const running = new Set<string>()
  const ofWriter =
    (request: string) =>
    ({ transactionalId }: Named): string | undefined =>
      transactionalId
        ? `${running.has(transactionalId) ? 'flush' : 'barrier'}:${request}`
        : undefined
  const names: Record<Method, (request: Named & Partial<Fetching>) => string | undefined> = {
    joinGroup: () => 'group:join',
    syncGroup: () => 'group:sync',
    heartbeat: () => 'group:heartbeat',
    initProducerId: ({ transactionalId }) => (transactionalId ? 'fence:init' : undefined),
    addPartitionsToTxn: ofWriter('add'),
    produce: ofWriter('produce'),
    endTxn: ofWriter('end'),
    fetch: ({ topics = [] }) =>
      topics.some(({ topic }) => topic.endsWith('state.v1')) ? 'restore:fetch' : undefined,
  }
  for (const [method, name] of Object.entries(names) as [Method, (typeof names)[Method]][]) {
    const original = prototype[method]
    prototype[method] = async function (request) {
      const point = name(request)
      if (point === undefined) return original.call(this, request)
      const [stage = '', what = ''] = point.split(':')
      pass(`${stage}:before-${what}`)
      const answer = original.call(this, request)
      // The request is written to the socket within this turn of the event loop or the next.
      if (armed?.point === `${stage}:sent-${what}`)
        setImmediate(() => pass(`${stage}:sent-${what}`))
      const answered = await answer
      pass(`${stage}:after-${what}`)
      const id = request.transactionalId
      if (id && method === 'initProducerId') running.delete(id)
      if (id && method === 'endTxn') running.add(id)
      return answered
    }
  }
}

/** Dies when it is the armed point's turn. */
function pass(point: string): void {
  if (armed?.point !== point) return
  armed.left -= 1
  if (armed.left > 0) return
  if (hitsFile !== undefined) appendFileSync(hitsFile, `${point}\n`)
  process.kill(process.pid, 'SIGKILL')
}

function arm(killAt: string | undefined): void {
  if (killAt === undefined) return
  const [point = '', times = '1'] = killAt.split('#')
  if (!POINTS.includes(point)) throw new Error(`no point ${point}: ${POINTS.join(' ')}`)
  armed = { point, left: Number(times) }
}

function readControl(): void {
  if (controlFile === undefined) return
  const { mtimeMs = 0 } = statSync(controlFile, { throwIfNoEntry: false }) ?? {}
  if (mtimeMs === readMs) return
  readMs = mtimeMs
  let control: Control = {}
  try {
    control = JSON.parse(readFileSync(controlFile, 'utf8')) as Control
  } catch {
    // Nothing is wanted of this one.
  }
  armed = undefined
  arm(control.killAt)
  clockShiftMs = control.clockShiftMs ?? 0
}

/** A step of the wall clock; timers and performance.now() are not moved by one. */
function shiftDate(): void {
  const RealDate = Date
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, args: ConstructorParameters<typeof Date>, newTarget) =>
      Reflect.construct(
        target,
        (args as unknown[]).length === 0 ? [target.now() + clockShiftMs] : args,
        newTarget,
      ) as Date,
    get: (target, name, receiver) =>
      name === 'now'
        ? () => target.now() + clockShiftMs
        : (Reflect.get(target, name, receiver) as unknown),
  })
}
