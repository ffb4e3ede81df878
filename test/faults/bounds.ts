// What a run may hold (I12), and how much that may grow.
import type { Bounds } from './evidence.ts'
import type { Kind } from './kinds/draw.ts'

const mega = 1_048_576

const limits = {
  /** A coordinator of this size of load holds 200 to 350 MB, most of it what V8 has not yet given back. */
  rssBytesMax: 700 * mega,
  /** It has 33 when all is well; a connection that is given up is open until its end is told. */
  handlesMax: 120,
  /** Of a port that others hold open as many sockets of as they get. */
  heldSocketsMax: 260,
  /** No take-over leaves inputs unread for as long as this, nor does a machine that others use up. */
  lagMs: 120_000,
  /** Code gets compiled, the heap finds its size, the first plates are retired. */
  warmUpMs: 300_000,
  shortMs: 900_000,
} as const

/** Under faults. */
export function boundsFor(imagesPerSecond: number, kinds: readonly Kind[] = []): Bounds {
  const { rssBytesMax, heldSocketsMax, lagMs } = limits
  const handlesMax = limits.handlesMax + (kinds.includes('otlp-flood') ? heldSocketsMax : 0)
  return { rssBytesMax, handlesMax, lagRecordsMax: (imagesPerSecond * lagMs) / 1_000 }
}

/** Of a run that nothing disturbs. What a leak adds in two hours is to be seen; what the collector leaves about is not. */
export function steadyBoundsFor(lengthMs: number, imagesPerSecond: number): Bounds {
  const isShort = lengthMs < limits.shortMs
  const images = (imagesPerSecond * lengthMs) / 1_000
  return {
    ...boundsFor(imagesPerSecond),
    growth: {
      warmUpMs: isShort ? lengthMs / 3 : limits.warmUpMs,
      ofProcess: {
        // One that has run for seconds only is still getting what it needs.
        rssBytes: (isShort ? 128 : 64) * mega,
        heapBytes: 32 * mega,
        handles: 8,
      },
      ofLog: {
        lagRecords: imagesPerSecond * 5,
        openKeys: 100,
        // Up to ten seconds of changes more that wait for compaction, 1.2 kB an image; and every plate's summary, 200
        // bytes for a dozen images.
        stateBytes: imagesPerSecond * 12_000 + images * 30,
      },
    },
  }
}
