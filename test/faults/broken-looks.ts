// What goes wrong without a wrong record: memory, handles, lag. The looks at a run of ten minutes, good in
// themselves, and one of them spoilt at a time.
import type { Broken } from './broken.ts'
import type { Bounds, Circumstances, Evidence, LogSample, Sample } from './evidence.ts'

const mega = 1_048_576
const fromMs = 2_000_000
const LOOKS = 200
const EVERY_MS = 3_000

/** A process breathes: memory goes up and down by 20 MB. */
const breath = (n: number): number => (n % 10) * 2 * mega

function samples(change: (n: number) => Partial<Sample> = () => ({})): Sample[] {
  return Array.from({ length: LOOKS }, (_, n) => ({
    atMs: fromMs + n * EVERY_MS,
    name: 'c1',
    pid: 7,
    // It has not yet all of its memory at first.
    rssBytes: 200 * mega + breath(n) - (n < 10 ? 100 * mega : 0),
    heapBytes: 50 * mega + breath(n),
    handles: 33 + (n % 3),
    ...change(n),
  }))
}

function looks(change: (n: number) => Partial<LogSample> = () => ({})): LogSample[] {
  return Array.from({ length: LOOKS }, (_, n) => ({
    atMs: fromMs + n * EVERY_MS,
    lagRecords: n % 7,
    openKeys: 90 + (n % 5),
    stateBytes: mega + breath(n),
    ...change(n),
  }))
}

const bounds: Bounds = {
  rssBytesMax: 500 * mega,
  handlesMax: 60,
  lagRecordsMax: 400,
  growth: {
    warmUpMs: 30_000,
    ofProcess: { rssBytes: 32 * mega, heapBytes: 16 * mega, handles: 4 },
    ofLog: { lagRecords: 30, openKeys: 50, stateBytes: 8 * mega },
  },
}

function seen(change: Partial<Circumstances>): (evidence: Evidence) => Evidence {
  return (evidence) => {
    const { circumstances } = evidence
    const all = { samples: samples(), log: looks(), bounds, ...change }
    return { ...evidence, circumstances: { ...circumstances, ...all } }
  }
}

/** Nothing is wrong with these. */
export const goodLooks = seen({})

export const brokenLooks: readonly Broken[] = [
  {
    rule: 'I12',
    how: 'a process holds too much memory, once',
    says: /^bytes of c1 at 2300000: 524288001; at most 524288000$/,
    evidence: seen({
      samples: samples((n) => (n === 100 ? { rssBytes: bounds.rssBytesMax + 1 } : {})),
    }),
  },
  {
    rule: 'I12',
    how: 'a process holds too many handles',
    says: /^handles of c1 at 2300000: 61; at most 60$/,
    evidence: seen({ samples: samples((n) => (n === 100 ? { handles: 61 } : {})) }),
  },
  {
    rule: 'I12',
    how: 'the checkpoints fall behind the inputs',
    says: /^input records behind the checkpoints at 2300000: 401; at most 400$/,
    evidence: seen({ log: looks((n) => (n === 100 ? { lagRecords: 401 } : {})) }),
  },
  {
    rule: 'I12',
    how: 'memory leaks by 250 kB at every look',
    says: /^rssBytes of c1 \(7\) rises by \d+ over the run; 33554432 are allowed$/,
    evidence: seen({
      samples: samples((n) => ({ rssBytes: 200 * mega + breath(n) + n * 250_000 })),
    }),
  },
  {
    rule: 'I12',
    how: 'the heap leaks where memory does not show it yet',
    says: /^heapBytes of c1 \(7\) rises by \d+ over the run; 16777216 are allowed$/,
    evidence: seen({
      samples: samples((n) => ({ heapBytes: 50 * mega + breath(n) + n * 120_000 })),
    }),
  },
  {
    rule: 'I12',
    how: 'a handle is lost every two minutes',
    says: /^handles of c1 \(7\) rises by 5 over the run; 4 are allowed$/,
    evidence: seen({ samples: samples((n) => ({ handles: 33 + Math.floor(n / 40) })) }),
  },
  {
    rule: 'I12',
    how: 'the work is a little more than the coordinators can do',
    says: /^lagRecords of the log rises by \d+ over the run; 30 are allowed$/,
    evidence: seen({ log: looks((n) => ({ lagRecords: Math.floor(n / 5) })) }),
  },
  {
    rule: 'I12',
    how: 'plates are retired, and leave keys behind',
    says: /^openKeys of the log rises by \d+ over the run; 50 are allowed$/,
    evidence: seen({ log: looks((n) => ({ openKeys: 90 + n })) }),
  },
  {
    rule: 'I12',
    how: 'the changelog does not compact',
    says: /^stateBytes of the log rises by \d+ over the run; 8388608 are allowed$/,
    evidence: seen({ log: looks((n) => ({ stateBytes: mega + n * 100_000 })) }),
  },
  {
    rule: 'I12',
    how: 'a process was hardly looked at',
    says: /rssBytes of c1 \(7\) was seen 5 times after the warm-up: too few to judge/,
    evidence: seen({ samples: samples().slice(0, 15) }),
  },
]
