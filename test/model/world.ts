// A world in which nothing happens by itself: every request's arrival, every reply, call, delivery and fault is a
// choice of the explorer. The coordinator inside is the production one (host, tasks, core) over the memory twins.
import { create, toBinary } from '@bufbuild/protobuf'
import type { Pipeline } from '../../coordinator/core/pipeline/pipeline.ts'
import type { LostInput } from '../../coordinator/task/input-loss.ts'
import { memoryBroker, type MemoryBroker } from '../../coordinator/log/memory.ts'
import { ended, image } from './inputs.ts'
import { READS, startProcess, type Around, type Process } from './process.ts'
import { CommandSchema } from '#proto/wellspring/record/v1/input_pb.ts'

/** What may still go wrong on the way. */
export type Budget = { faults: number; moves: number }

export type Scenario = {
  readonly name: string
  readonly pipeline: Pipeline
  readonly tasks: number
  readonly processes: number
  readonly inputs: number
  /** A move may also delete the images that are there, whether they were read or not. */
  readonly isDeleting?: boolean
  readonly budget: Readonly<Budget>
}

export type Choice = {
  readonly name: string
  readonly cost?: keyof Budget
  /** May change nothing. */
  readonly isIdle?: boolean
  run(): void
}

export class World {
  readonly broker: MemoryBroker
  readonly scenario: Scenario
  readonly left: Budget
  readonly complaints: string[] = []
  /** Executions by idempotency key. */
  readonly executions = new Map<string, number>()
  #processes: Process[] = []
  #markers = new Set<() => void>()
  #soon: (() => void)[] = []
  #long = new Map<() => void, Process>()
  #steps = 0
  #named = 0
  #generation = 0
  /** Claims that the broker granted. */
  #claims = 0
  /** Who has each task, by the newest generation. */
  #owner = ''
  #isHealed = false
  #isDeleted = false
  /** The loss that a person has accepted. */
  #accepted = ''

  constructor(scenario: Scenario) {
    this.scenario = scenario
    this.left = { ...scenario.budget }
    this.broker = memoryBroker(scenario.tasks)
    for (let count = 0; count < scenario.processes; count += 1) this.#start()
    for (let count = 0; count < scenario.inputs; count += 1) {
      const { key, bytes } = image(count, scenario.tasks)
      this.broker.produce('images.v1', count % scenario.tasks, key, bytes)
    }
    this.#deal(this.#processes[0]?.name ?? '')
  }

  /** What can happen now; first what a world without faults would do. Empty: all is done. */
  choices(): Choice[] {
    const going = this.#going()
    if (going.length === 0) going.push(...this.#atRest())
    going.sort((a, b) => Number(a.isIdle ?? false) - Number(b.isIdle ?? false))
    return [...going, ...this.#late(), ...this.#faults()]
  }

  /** Everything that a choice sets off at once, before the next one. */
  async settle(): Promise<void> {
    for (;;) {
      for (let run = this.#soon.shift(); run; run = this.#soon.shift()) run()
      await new Promise<void>((resolve) => setImmediate(resolve))
      if (this.#soon.length > 0) continue
      const reads = this.#processes.flatMap(({ requests }) =>
        [...requests].filter(({ what }) => READS.has(what)),
      )
      // Only readers see whether the markers are written; and a reader waits for what is open.
      if (reads.length > 0 && this.#markers.size > 0) return
      if (reads.length > 0 && this.broker.hasOpenTransaction()) return
      for (const run of this.#markers) this.#write(run)
      for (const { arrive } of reads) arrive()
      if (reads.length === 0) return
    }
  }

  /** Everything done that was to be done: each input's effect is in the log, and nobody is busy. */
  isComplete(): boolean {
    const { scenario, broker } = this
    if (broker.hasOpenTransaction() || ended(broker) < scenario.inputs) return false
    const owner = this.owner()
    for (let task = 0; task < scenario.tasks; task += 1) {
      const engine = owner?.host.engine(task)
      if (!owner?.isAlive || engine?.phase !== 'running') return false
      const { calls, inputs, isFlushing } = engine.load()
      if (calls + inputs > 0 || isFlushing) return false
      const read = broker.committed('images.v1').filter((one) => one.partition === task).length
      if (engine.next()?.['images.v1'] !== read) return false
    }
    return true
  }

  owner(): Process | undefined {
    return this.#processes.find((one) => one.name === this.#owner)
  }

  /** Whether the writer of this epoch may still write, as far as one task tells. */
  isCurrent(epoch: number): boolean {
    return this.scenario.tasks > 1 || epoch === this.#claims - 1
  }

  processes(): readonly Process[] {
    return this.#processes
  }

  /** Without what tells two worlds apart that go on alike: names of nonces, times. */
  groupKey(): string {
    const deletion = `${this.#isDeleted} ${this.#accepted}`
    return `${this.#owner} ${this.#isHealed} ${deletion} ${this.#markers.size} ${this.#long.size}`
  }

  generation(): number {
    return this.#generation
  }

  #going(): Choice[] {
    const going: Choice[] = []
    for (const run of this.#markers)
      going.push({ name: 'the markers are written', run: () => this.#write(run) })
    for (const process of this.#processes) {
      if (!process.isAlive) continue
      const { name, requests, answers } = process
      for (const { what, arrive, timeOut } of requests)
        if (timeOut)
          going.push({ name: `${name}: ${what} is answered`, isIdle: READS.has(what), run: arrive })
      for (const answer of answers)
        going.push({
          name: `${name}: a call returns`,
          run: () => {
            answers.delete(answer)
            answer.run()
          },
        })
      if (this.#hasUnread(process))
        going.push({
          name: `${name}: a record is delivered`,
          run: () => void this.broker.deliver(name, 1),
        })
      if (process.generation === this.#generation && this.#isWaiting(process))
        going.push({
          name: `${name}: a heartbeat is confirmed`,
          run: () => process.host.confirmed(this.#steps),
        })
    }
    return going
  }

  #atRest(): Choice[] {
    if (this.isComplete()) return []
    const word = this.#wanted()
    if (word) return [{ name: 'a person accepts what is lost', run: () => this.#accept(word) }]
    const [long] = this.#long.keys()
    if (long) return [{ name: 'time passes', run: () => this.#pass(long) }]
    if (this.#isHealed) {
      this.complaints.push('T6 a dead end: nothing can happen, and not all is done')
      return []
    }
    return [{ name: 'the group deals anew', run: () => this.#heal() }]
  }

  /** What is lost and not accepted, as the owner tells it. */
  #wanted(): LostInput | undefined {
    const lost = this.owner()?.host.engine(0)?.trouble().down()?.trouble.lost[0]
    return lost && this.#accepted !== `${lost.from} ${lost.to}` ? lost : undefined
  }

  #accept({ topic, task: partition, from, to }: LostInput): void {
    this.#accepted = `${from} ${to}`
    const action = { case: 'acceptLoss', value: { topic, partition, from, to } } as const
    const bytes = toBinary(CommandSchema, create(CommandSchema, { action }))
    this.broker.produce('commands.v1', partition, 'accept-loss', bytes)
  }

  /** So much time that outcomes nobody came for are forgotten. */
  #pass(long: () => void): void {
    this.#long.delete(long)
    for (const { called } of this.#processes) called.clear()
    long()
  }

  /** Requests whose sender has given up may still arrive, and answers that no longer hold. */
  #late(): Choice[] {
    const stale = this.#processes
      .filter((one) => one.isAlive && one.generation !== this.#generation && this.#isWaiting(one))
      .map((one) => ({
        name: `${one.name}: an old heartbeat is confirmed`,
        isIdle: true,
        run: () => one.host.confirmed(one.heardAt),
      }))
    const late = this.#processes.flatMap(({ name, requests }) =>
      [...requests]
        .filter(({ timeOut, what, epoch }) => {
          // Another is refused, which nobody would hear.
          return !timeOut && (what === 'InitProducerId' || this.isCurrent(epoch))
        })
        .map(({ what, arrive }) => ({ name: `${name}: ${what} arrives late`, run: arrive })),
    )
    return [...late, ...stale]
  }

  #faults(): Choice[] {
    const found: Choice[] = []
    const alive = this.#processes.filter((one) => one.isAlive)
    if (this.left.faults > 0) {
      for (const { name, requests } of alive)
        for (const { what, timeOut } of requests)
          if (timeOut)
            found.push({ name: `${name}: ${what} times out`, cost: 'faults', run: timeOut })
      for (const process of alive.filter((one) => this.#isBusy(one)))
        found.push({
          name: `${process.name} is killed`,
          cost: 'faults',
          run: () => this.#kill(process),
        })
      for (let task = 0; task < this.scenario.tasks; task += 1)
        found.push({ name: `task ${task} is fenced`, cost: 'faults', run: () => this.#fence(task) })
    }
    if (this.left.moves > 0) {
      if (this.scenario.isDeleting && !this.#isDeleted)
        found.push({ name: 'the images are deleted', cost: 'moves', run: () => this.#delete() })
      for (const { name } of alive) {
        found.push({ name: `all to ${name}`, cost: 'moves', run: () => this.#deal(name) })
        const deaf = alive.filter((one) => one.name !== name)
        if (deaf.some((one) => this.#isBusy(one)))
          found.push({
            name: `all to ${name}, the others do not hear of it`,
            cost: 'moves',
            run: () => this.#deal(name, new Set(deaf.map((one) => one.name))),
          })
      }
    }
    return found
  }

  #delete(): void {
    this.#isDeleted = true
    this.broker.deleteBelow('images.v1', 0, this.broker.committed('images.v1').length)
  }

  take(choice: Choice): void {
    this.#steps += 1
    if (choice.cost) {
      this.left[choice.cost] -= 1
      this.#isHealed = false
    }
    choice.run()
  }

  #write(markers: () => void): void {
    this.#markers.delete(markers)
    markers()
  }

  #isBusy({ host: own, requests }: Process): boolean {
    for (let task = 0; task < this.scenario.tasks; task += 1) if (own.engine(task)) return true
    return requests.size > 0
  }

  #hasUnread({ name, isAlive }: Process): boolean {
    return isAlive && this.broker.hasUnread(name)
  }

  /** A task that was fenced asks nothing more of the broker until it is confirmed. */
  #isWaiting(process: Process): boolean {
    // One that is down waits for a long time first.
    if ([...this.#long.values()].includes(process)) return false
    let waiting = 0
    for (let task = 0; task < this.scenario.tasks; task += 1)
      if (process.host.engine(task)?.phase === 'taking-over') waiting += 1
    const busy = [...process.requests].filter((one) => one.timeOut).length
    return waiting > busy
  }

  #heal(): void {
    this.#isHealed = true
    const alive = this.#processes.find((one) => one.isAlive) ?? this.#start()
    this.#deal(alive.name)
  }

  #deal(name: string, deaf: ReadonlySet<string> = new Set()): void {
    this.#generation += 1
    this.#owner = name
    const tasks = Array.from({ length: this.scenario.tasks }, (_, task) => task)
    const dealt = new Map<string, number[]>()
    for (const process of this.#processes) {
      if (!process.isAlive) continue
      dealt.set(process.name, process.name === name ? tasks : [])
      if (deaf.has(process.name)) continue
      process.told += 1
      process.generation = this.#generation
      process.heardAt = this.#steps
    }
    this.broker.rebalance(dealt, deaf)
  }

  #kill(process: Process): void {
    process.isAlive = false
    process.answers.clear()
    for (const [run, whose] of this.#long) if (whose === process) this.#long.delete(run)
    for (const request of process.requests) {
      request.timeOut = undefined
      if (READS.has(request.what)) process.requests.delete(request)
    }
    this.broker.remove(process.name)
  }

  /** Somebody else claims the id: an operator's tool, a late request. */
  #fence(task: number): void {
    const stranger = this.broker.open('stranger', {
      monotonicMs: () => this.#steps,
      request: (_, __, work) => Promise.resolve(work()),
    })
    void stranger.fence(task)
    this.#claims += 1
  }

  #start(): Process {
    this.#named += 1
    const { broker, complaints, executions } = this
    const around: Around = {
      broker,
      pipeline: this.scenario.pipeline,
      complaints,
      executions,
      steps: () => this.#steps,
      soon: (run) => {
        this.#soon.push(run)
        return () => void (this.#soon = this.#soon.filter((one) => one !== run))
      },
      long: (run, whose) => {
        this.#long.set(run, whose)
        return () => void this.#long.delete(run)
      },
      later: (work) => void this.#markers.add(work),
      claimed: () => void (this.#claims += 1),
    }
    const process = startProcess(around, `p${this.#named}`)
    this.#processes.push(process)
    return process
  }
}
