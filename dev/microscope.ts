// The virtual microscope: exposes a planned demo at an instrument's pace, writes its files as instruments do, and
// announces them, with the faults of real life.
import { createHash, randomUUID } from 'node:crypto'
import { appendFile, mkdir, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { create } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import {
  CommandSchema,
  ImageAcquiredSchema,
  type ImageAcquired,
} from '#proto/wellspring/record/v1/input_pb.ts'
import { commandRecord, imageRecord, planEntity, type Announcer } from '../ingest/announce.ts'
import type { Demo, Shot } from './demo.ts'
import { diceOf } from './dice.ts'
import { drawField, SIZE_PX } from './field.ts'
import { encodeTiff } from './tiff.ts'

const INSTRUMENT = 'virtual-microscope'

export type AcquireOptions = {
  readonly announcer: Announcer
  /** Folder of the files; must be below a root that the services may read. */
  readonly dir: string
  readonly application: string
  /** Between two images. */
  readonly paceMs: number
  /** Resolves when the second half of a file that is being copied has come over; its image is named. */
  readonly copied: (entity: string) => Promise<void>
  readonly signal: AbortSignal
  /** After every shot: how many of how many are over. */
  readonly onShot?: (done: number, of: number) => void
}

/**
 * Announces the plans, then shot after shot. Resolves when the last file is whole; rejects when the announcer
 * does, or with AbortError when told to stop.
 */
export async function acquire(demo: Demo, options: AcquireOptions): Promise<void> {
  const { announcer, application, paceMs, signal } = options
  await announcer.announce(
    demo.plans.map((value) => {
      const action = { case: 'plan', value } as const
      const command = create(CommandSchema, { id: randomUUID(), author: INSTRUMENT, action })
      return commandRecord(command, planEntity(value), application)
    }),
  )
  const copies: Promise<void>[] = []
  let due = performance.now()
  for (const [i, shot] of demo.shots.entries()) {
    due += paceMs
    await sleep(Math.max(0, due - performance.now()), undefined, { signal })
    copies.push(...(await expose(shot, demo.seed, options)))
    options.onShot?.(i + 1, demo.shots.length)
  }
  await Promise.all(copies)
}

/** Writes and announces one image. Returns copies that are still going on. */
async function expose(
  shot: Shot,
  seed: string,
  { dir, announcer, application, copied }: AcquireOptions,
): Promise<Promise<void>[]> {
  if (shot.faults.includes('missing-site')) return []
  const path = join(dir, fileName(shot))
  const whole = drawShot(shot, seed)
  const half = Math.floor(whole.length / 2)
  // A truncated file is announced as it is; one that is being copied as it will be.
  const bytes = shot.faults.includes('truncated') ? whole.subarray(0, half) : whole
  const copying = shot.faults.includes('half-copied')
  await mkdir(dirname(path), { recursive: true })
  await writeWhole(path, copying ? bytes.subarray(0, half) : bytes)
  const record = imageRecord(announcement(shot, path, bytes), application)
  await announcer.announce(shot.faults.includes('duplicate') ? [record, record] : [record])
  if (!copying) return []
  const rest = copied(shot.entity).then(() => appendFile(path, bytes.subarray(half)))
  rest.catch(() => {}) // seen when the caller awaits it
  return [rest]
}

/** The file of a shot: a pure function of seed and shot. */
export function drawShot(shot: Shot, seed: string): Buffer {
  const { plate, well, site } = shot.identity
  const dice = diceOf(`${seed}/${plate}/${well}/${site}/${shot.stain}`)
  return encodeTiff(drawField(shot.nuclei, shot, dice), SIZE_PX, SIZE_PX)
}

/** Unique over all experiments, so that a file name alone finds its image. */
export function fileName({ identity, stain }: Shot): string {
  const { experiment, plate, well, site } = identity
  return join(experiment, plate, `${experiment}_${plate}_${well}_s${site}_${stain}.tif`)
}

async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  await writeFile(`${path}.part`, bytes)
  await rename(`${path}.part`, path)
}

function announcement({ identity, channel }: Shot, path: string, bytes: Uint8Array): ImageAcquired {
  return create(ImageAcquiredSchema, {
    identity,
    artifact: {
      uri: pathToFileURL(path).href,
      sizeBytes: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      mediaType: 'image/tiff',
    },
    channel,
    acquiredAt: timestampFromMs(Date.now()),
    instrument: INSTRUMENT,
  })
}
