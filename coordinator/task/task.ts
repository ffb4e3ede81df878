// One task: takes itself over, takes events in, one at a time, and flushes what they changed; calls and flushes are
// under way beside it. Invariants T1-T6 are those of coordinator/INVARIANTS.md.
import { decide } from '../core/decide.ts'
import { loseInput } from '../core/losses.ts'
import type { Call, Effect, Event } from '../core/event.ts'
import { deadlineOf } from '../core/due.ts'
import { restored } from '../core/restore.ts'
import { changesOf, type Task } from '../core/state.ts'
import { emptyBatch, flushRecords, hasRoom, type Batch } from './batch.ts'
import { createCrashGuard, type CrashGuard } from './crash-guard.ts'
import { pause } from '../clock.ts'
import { STALE_MS, deadlines } from './deadlines.ts'
import { inbox, type Inbox } from './inbox.ts'
import { openIntake } from './intake.ts'
import { freeCall, isFull } from './limits.ts'
import { pacer, type Pacer } from './pacer.ts'
import type { Input } from '@wellspring/kafka/records.ts'
import type { InputTopic } from '@wellspring/kafka/topic-names.ts'
import { asLogError, type LogError } from '@wellspring/kafka/errors.ts'
import type { Writer } from '../log/port.ts'
import type { Restored } from './restore.ts'
import { statusBoard } from './status.ts'
import { stops, takeOrStop } from './stops.ts'
import { takeNext } from './taking-in.ts'
import { timers, type Timer } from './timers.ts'
import { perform } from './perform.ts'
import { taskCalls, type TaskCalls } from './calls.ts'
import type { TaskOptions } from './options.ts'
import { OUT_OF_RANGE, takingOver, type TakingOver } from './taking-over.ts'
import { inTask } from './scope.ts'

export type Phase = 'taking-over' | 'running' | 'lost'

export class TaskEngine {
  readonly task: number
  phase: Phase = 'taking-over'
  /** Since when it is in this phase, UTC ms. */
  sinceMs = 0
  state: Task | undefined
  #options: TaskOptions
  /** Counts take-overs: whatever began in an earlier life does not count. */
  #life = 0
  /** Another process has the task or will have it: nothing is taken over again. */
  #isLeaving = false
  #writer: Writer | undefined
  #flushSeq = 0
  #inbox: Inbox
  #urgent: Event[] = []
  #batch: Batch = emptyBatch()
  #events = 0
  #calls: TaskCalls
  #crashGuard: CrashGuard
  /** What takes inputs in. */
  #parts: Parameters<typeof takeNext>[0]
  #flushing: Promise<unknown> | undefined
  #takingOver: TakingOver
  #pacer: Pacer
  #timers: ReturnType<typeof timers>
  #deadlines: ReturnType<typeof deadlines>
  /** When the last deadlines were allowed to take effect. */
  #openedMs = 0
  #status: ReturnType<typeof statusBoard>
  #stops: ReturnType<typeof stops>

  constructor(options: TaskOptions) {
    this.#options = options
    this.task = options.task
    this.#inbox = inbox(options.limits)
    this.#crashGuard = createCrashGuard(options.limits.deathsPerRecordMax)
    const intake = openIntake({ ...options, tasks: options.log.tasks })
    this.#parts = { inbox: this.#inbox, crashGuard: this.#crashGuard, intake }
    this.#timers = timers(options.clock, (due) => this.#fire(due))
    this.#deadlines = deadlines({
      clock: options.clock,
      retryMs: options.limits.takeOverPauseMaxMs,
      inputOffsets: () => options.log.inputOffsets(options.task),
      next: () => this.#inbox.next,
      fire: (entities) => {
        this.#openedMs = options.clock.monotonicMs()
        for (const entity of entities)
          this.#urgent.push({ kind: 'timer', entity, completeness: true })
        this.#pump()
      },
    })
    this.#calls = taskCalls(options, (outcome, service) => {
      this.#urgent.push(outcome)
      freeCall(options.budget, service)
      this.#pump()
    })
    this.#takingOver = takingOver(options, (back) => this.#turn(() => this.#goOn(back)))
    this.#pacer = pacer({ ...options, flush: () => this.#turn(() => this.#flush()) })
    this.#stops = stops(options)
    this.#status = statusBoard(options.clock, options.limits, () => this.#scheduleFlush())
  }

  /** Takes the task over, from scratch: at the first assignment, and whenever memory may no longer be trusted. */
  start(): void {
    this.#reset('taking-over')
    this.#takingOver.begin()
  }

  /** Something of the task failed that nobody saw. */
  fail(error: unknown): void {
    const stack = error instanceof Error ? error.stack : String(error)
    this.#options.logger('error', 'task failed', { task: this.task, error: stack })
    if (this.phase !== 'lost') this.#again(error)
  }

  outOfRange(): void {
    if (this.phase === 'running') this.#again(OUT_OF_RANGE)
  }

  /** Why the task does not run. */
  trouble(): Pick<TakingOver, 'down' | 'lastError'> {
    return this.#takingOver
  }

  /** Next offset to read per input, if the task runs. */
  next(): Readonly<Record<InputTopic, number>> | undefined {
    if (this.phase !== 'running') return undefined
    return this.#inbox.behind()
  }

  /** The same without what only waits to be taken in. */
  takenTo(): Readonly<Record<InputTopic, number>> | undefined {
    return this.phase === 'running' ? { ...this.#inbox.next } : undefined
  }

  records(inputs: readonly Input[]): void {
    if (this.phase !== 'running') return
    this.#inbox.push(inputs)
    this.#pump()
  }

  passed(topic: InputTopic, next: number): void {
    if (this.phase !== 'running') return
    this.#inbox.push([{ topic, next }])
    this.#pump()
  }

  /** The group confirmed the assignment by a heartbeat sent at this monotonic moment, or by a new generation. */
  confirmed(sentAtMs: number): void {
    this.#takingOver.confirmed(sentAtMs)
  }

  /** The task moved away: a last flush if still unfenced, then nothing more. Running calls go on. */
  async lost(): Promise<void> {
    const { limits, clock } = this.#options
    this.#isLeaving = true
    if (this.phase === 'running') {
      if (this.#flushing) await Promise.race([this.#flushing, pause(clock, limits.lastFlushWaitMs)])
      if (this.#crashGuard.leave() || this.#hasWork()) this.#turn(() => this.#flush())
      if (this.#flushing) await Promise.race([this.#flushing, pause(clock, limits.lastFlushWaitMs)])
    }
    await this.leave()?.close()
  }

  /** Ends at once: outcomes of its calls are held until somebody asks for them, and only then may a successor ask. */
  leave(): Writer | undefined {
    if (this.phase === 'lost') return undefined
    const writer = this.#writer
    this.#reset('lost')
    this.#options.caller.detach(this.task)
    return writer
  }

  /** What is under way and what waits: for the operator and for tests. */
  load(): { calls: number; inputs: number; timers: number; isFlushing: boolean } {
    return {
      calls: this.#calls.count(),
      inputs: this.#inbox.size(),
      timers: this.#timers.size() + this.#deadlines.size(),
      isFlushing: this.#flushing !== undefined || this.#hasWork(),
    }
  }

  /** What a turn of the task throws is the task's trouble: it is taken over again, the process and the others go on. */
  #turn(work: () => void): void {
    try {
      inTask(this.task, work)
    } catch (error) {
      this.fail(error)
    }
  }

  /** From what is committed: what is in memory is forgotten. */
  #again(failed?: unknown): void {
    const { log, clock, limits } = this.#options
    const [writer, flushing] = [this.#writer, this.#flushing]
    const closed = async (): Promise<void> => {
      if (flushing) await Promise.race([flushing, pause(clock, limits.lastFlushWaitMs)])
      await writer?.close()
    }
    if (this.#isLeaving) this.leave()
    else {
      log.pause(this.task)
      const noted = this.#stops.noted(failed, this.#inbox.next)
      this.#reset('taking-over')
      this.#takingOver.begin(noted)
    }
    void closed()
  }

  #reset(phase: Phase): void {
    this.phase = phase
    this.sinceMs = this.#options.clock.nowMs()
    this.#life += 1
    this.#pacer.cancel()
    this.#flushing = undefined
    this.#timers.clear()
    this.#status.clear()
    this.#deadlines.clear()
    this.#inbox.reset()
    this.#urgent = []
    this.#batch = emptyBatch()
    this.#events = 0
    this.state = undefined
    this.#writer = undefined
    this.#takingOver.end()
    this.#options.budget.waiting.delete(this.#pump)
    this.#calls.reset()
  }

  #goOn(back: Restored): void {
    const { clock, random, log } = this.#options
    this.#writer = back.writer
    this.state = back.state
    this.#flushSeq = back.flushSeq
    this.#inbox.reset(back.next)
    this.#crashGuard.begin(back.last, back.next, back.writer.id)
    this.phase = 'running'
    this.sinceMs = clock.nowMs()
    this.#batch.touched = back.letGo.length > 0
    for (const one of back.letGo) this.#perform(loseInput(back.state, one, clock.nowMs()))
    this.#status.all(back.state)
    for (const event of this.#stops.begin(back.state)) this.#take(event)
    this.#perform(restored(back.state, clock.nowMs(), random))
    log.resume(this.task, back.next)
    this.#pump()
  }

  #pump = (): void => this.#turn(() => this.#takeIn())

  #takeIn(): void {
    const { yieldBudget, budget, log } = this.#options
    while (this.phase === 'running' && this.#hasRoom()) {
      const urgent = this.#urgent[0]
      if (urgent && this.#crashGuard.mayTurn()) {
        this.#urgent.shift()
        takeOrStop(urgent, (event) => this.#take(event))
        continue
      }
      if (this.#inbox.size() === 0) break
      if (isFull(budget)) {
        budget.waiting.add(this.#pump)
        break
      }
      if (!yieldBudget.spend(this.#pump)) break
      if (!takeNext(this.#parts, (event) => this.#take(event))) break
      this.#deadlines.reached(this.#inbox.next)
    }
    const pressure = this.#inbox.pressure()
    if (pressure === 'pause') log.pause(this.task)
    if (pressure === 'resume') log.resume(this.task, this.#inbox.behind())
    this.#scheduleFlush()
  }

  #hasRoom(): boolean {
    return hasRoom(this.#batch, this.state, this.#options.limits)
  }

  #take(event: Event): void {
    const { clock, random } = this.#options
    if (!this.state) return
    if (
      event.kind === 'timer' &&
      event.completeness &&
      clock.monotonicMs() - this.#openedMs > STALE_MS
    ) {
      // The process was paused with the deadline in hand: ask again what is in the topics.
      this.#deadlines.add(event.entity)
      return
    }
    if (event.kind === 'outcome') this.#batch.outcomes.push(event.idempotencyKey)
    else if ('at' in event) this.#batch.touched = true
    this.#events += 1
    this.#perform(decide(this.state, event, clock.nowMs(), random))
  }

  #perform(effects: readonly Effect[]): void {
    const life = this.#life
    if (!this.state) return
    perform(effects, {
      task: this.task,
      application: this.#options.owner.application,
      state: this.state,
      batch: () => this.#batch,
      timers: this.#timers,
      call: (call) => this.#call(call),
      isOver: () => life !== this.#life,
    })
  }

  #call(call: Call): void {
    if (call.afterCommit) {
      this.#batch.afterCommit.push(call)
      return
    }
    const unknown = this.#calls.unknown(call)
    if (unknown) this.#urgent.push(unknown)
    else this.#calls.start(call)
  }

  #hasWork(): boolean {
    if (this.#events > 0 || this.#batch.outputs.length > 0 || this.#batch.touched) return true
    return changesOf(this.state).records > 0
  }

  #scheduleFlush(): void {
    if (this.phase !== 'running' || this.#flushing) return
    const { outputs, afterCommit } = this.#batch
    const isWaiting = this.#status.isDue() || this.#crashGuard.isWaiting()
    const isAwaited = outputs.length > 0 || afterCommit.length > 0 || isWaiting
    if (isAwaited || this.#hasWork()) this.#pacer.want(isAwaited || !this.#hasRoom())
  }

  #flush(): void {
    const writer = this.#writer
    const { state } = this
    if (this.phase !== 'running' || this.#flushing || !writer || !state) return
    this.#pacer.left()
    this.#status.into(this.#batch, this.task, state)
    const batch = this.#batch
    const life = this.#life
    const flushSeq = this.#flushSeq + 1
    const { stateDigestEvery = 0 } = this.#options
    const head = {
      task: this.task,
      flushSeq,
      next: { ...this.#inbox.next },
      writer: writer.id,
      withStateDigest: stateDigestEvery > 0 && flushSeq % stateDigestEvery === 0,
      crashGuard: this.#crashGuard.said(this.#inbox.next),
    }
    const records = flushRecords(batch, state, head)
    this.#status.changed(records)
    this.#batch = emptyBatch()
    this.#events = 0
    const committed = (): void => {
      this.#flushing = undefined
      this.#flushSeq = head.flushSeq
      this.#stops.committed(state, head.next)
      this.#crashGuard.committed(head.crashGuard)
      for (const key of batch.outcomes) this.#options.caller.release(key)
      for (const call of batch.afterCommit) this.#calls.start(call)
      this.#pump()
    }
    this.#flushing = writer.commit(records).then(
      () => life === this.#life && this.#turn(committed),
      (error: unknown) => this.#failed(life, writer, asLogError(error)),
    )
  }

  /** A flush whose outcome is unknown or refused: forget what was not committed and read back what was. */
  async #failed(life: number, writer: Writer, error: LogError): Promise<void> {
    const { logger } = this.#options
    await writer.close()
    if (life !== this.#life) return
    logger('info', 'flush failed', { task: this.task, kind: error.kind, error: error.message })
    this.#writer = undefined
    this.#flushing = undefined
    this.#again(error)
  }

  /** Back-offs fire at once; completeness waits until what is in the topics was read. */
  #fire(due: readonly Timer[]): void {
    this.#turn(() => this.#due(due))
  }

  #due(due: readonly Timer[]): void {
    for (const { entity, completeness } of due) {
      if (!completeness) {
        this.#urgent.push({ kind: 'timer', entity, completeness })
        continue
      }
      if (!this.state) continue
      const when = deadlineOf({ task: this.state, now: this.#options.clock.nowMs() }, entity)
      if (when.kind === 'later') this.#timers.set({ entity, atMs: when.atMs, completeness })
      if (when.kind === 'now' || when.kind === 'retire') this.#deadlines.add(entity)
    }
    this.#pump()
  }
}
