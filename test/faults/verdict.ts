// What a run left behind, read and judged.
import type { PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { judgeAll } from './checks/all.ts'
import { seriesOf, type Series } from './checks/growth.ts'
import { calmLatencies, type CalmLatency } from './checks/neighbours.ts'
import { memoryFigures, type MemoryFigure } from './checks/survival.ts'
import { collect } from './collect.ts'
import type { CallLine, Position, Span } from './evidence.ts'
import { incomingOf } from './incoming.ts'
import type { Notes } from './kinds/ground.ts'
import { neighboursOf } from './neighbourhood.ts'
import { POISON_HEADER } from './plates.ts'
import type { Injected, RunOptions } from './run.ts'
import type { Setting } from './setting.ts'
import type { Watch } from './watch.ts'

export type Judged = {
  readonly calls: readonly CallLine[]
  /** Complaints of the judges, by invariant; one that could not be judged is not there. */
  readonly verdicts: ReadonlyMap<string, readonly string[]>
  /** While only some images were disturbed, how long those of others took (I13). */
  readonly calm: readonly CalmLatency[]
  /** Trends of the run (I12), if its bounds ask for them. */
  readonly series: readonly Series[]
  /** With and without what comes in to do harm (H6). */
  readonly memory: readonly MemoryFigure[]
  readonly notes: Notes
  /** What it took to judge: all evidence is held in memory. */
  readonly judging: {
    readonly records: number
    readonly readMs: number
    readonly judgeMs: number
    readonly rssBytes: number
  }
}

export type Ran = {
  readonly options: RunOptions
  readonly setting: Setting
  readonly watching: Watch
  readonly injected: readonly Injected[]
  readonly notes: Notes
  readonly spansRead: readonly Position[] | undefined
  readonly faults: Span
}

export async function judge({ options, setting, ...ran }: Ran): Promise<Judged> {
  const { watching, injected, notes, faults } = ran
  const { retireAfterMs, bounds, phases } = options
  const readFromMs = performance.now()
  const evidence = await collect({
    brokers: setting.cluster.brokers,
    topicPrefix: setting.topicPrefix,
    pipeline: options.judged,
    callLogs: setting.services.callLogs,
    // Nobody judges the spans of a compacted log, and they are half of all bytes.
    leaveOut: retireAfterMs === undefined ? [] : ['spans.v1'],
    unopened: notes.bombs,
    circumstances: {
      areClocksStepped: injected.some(({ fault }) => fault.kind === 'clock'),
      digestEvery: options.digestEvery,
      isCompacted: retireAfterMs !== undefined,
      samples: watching.samples,
      log: watching.log,
      bounds,
      faults,
    },
  })
  const { committed, plans } = evidence
  const { events } = setting.crew
  const seen = { injected, events, notes, committed, startedMs: faults.fromMs, phases }
  const circumstances = {
    ...evidence.circumstances,
    poisoned: committed.filter(({ headers }) => POISON_HEADER in headers),
    neighbours: neighboursOf({
      injected,
      calls: evidence.calls,
      plates: notes.plates,
      startedMs: faults.fromMs,
    }),
    retired: retireAfterMs === undefined ? [] : plans.map(plateKey),
    incoming: incomingOf({ ...seen, spansRead: ran.spansRead }),
  }
  const judgeFromMs = performance.now()
  const told = { ...evidence, circumstances }
  return {
    calls: evidence.calls,
    verdicts: judgeAll(told),
    calm: calmLatencies(told),
    series: bounds.growth ? seriesOf(told, bounds.growth) : [],
    memory: memoryFigures(told),
    notes,
    judging: {
      records: committed.length,
      readMs: judgeFromMs - readFromMs,
      judgeMs: performance.now() - judgeFromMs,
      rssBytes: process.memoryUsage.rss(),
    },
  }
}

const plateKey = ({ experiment, plate, acquisition }: PlatePlan): string =>
  `${experiment}/${plate}/${acquisition}`
