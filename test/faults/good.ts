// A run in which all went well, as a story: a plate of one site with four channels. w1 and w2 are done, the data of w3
// is bad, w4 never came, and one input record cannot be read.
import { createHash } from 'node:crypto'
import { create, toBinary } from '@bufbuild/protobuf'
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt'
import {
  ImageStateSchema,
  PlateStateSchema,
  RunPayloadSchema,
  RunState,
  SiteStateSchema,
  StepRunSchema,
  WellStateSchema,
  type StepRun,
} from '#proto/wellspring/journal/v1/state_pb.ts'
import { IdentitySchema } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { PlatePlanSchema } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { CommandSchema, ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import {
  ClosedBy,
  DeadLetterSchema,
  LevelClosedSchema,
  PlateEventSchema,
  StepResultSchema,
  type LevelClosed,
  type StepResult,
} from '#proto/wellspring/record/v1/output_pb.ts'
import { EchoImageResponseSchema } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import type { CallLine } from './evidence.ts'
import type { Story, Turn, Written } from './story.ts'

export const plate = 'E/P/a1'
export const well = `${plate}/A01/t0`
export const site = `${well}/s1`
export const image = (channel: string): string => `${site}/z0/${channel}`
const pipeline = 'echo-levels-1'
const startMs = 1_000_000
/** When the site closes without w4: 20 s after the last arrival. */
const closeMs = startMs + 20_100

export const plan = create(PlatePlanSchema, {
  experiment: 'E',
  plate: 'P',
  acquisition: 'a1',
  wells: [{ well: 'A01' }],
  sites: [1],
  timePoints: [0],
  zPlanes: [0],
  channels: ['w1', 'w2', 'w3', 'w4'].map((name) => ({ name })),
  completeness: {
    quorum: 0.9,
    quorumAfter: durationFromMs(10_000),
    deadline: durationFromMs(20_000),
  },
})

export function goodStory(): Story {
  return {
    plans: [plan],
    inputs: [
      written('commands.v1', 'E/P', CommandSchema.typeName, {
        value: toBinary(
          CommandSchema,
          create(CommandSchema, { action: { case: 'plan', value: plan } }),
        ),
      }),
      announcement('w1', startMs),
      announcement('w2', startMs + 50),
      announcement('w3', startMs + 100),
      written('images.v1', 'E/P', ImageAcquiredSchema.typeName, { value: Buffer.from('no image') }),
    ],
    turns: turns(),
    calls: [
      call(image('w1'), 'echo-image', startMs + 10),
      call(image('w2'), 'echo-image', startMs + 60),
      { ...call(image('w3'), 'echo-image', startMs + 110), outcome: 'BAD_DATA' },
      call(site, 'echo-site', closeMs + 10),
      call(well, 'echo-well', closeMs + 30),
      call(plate, 'echo-plate', closeMs + 50),
    ],
    circumstances: {
      areClocksStepped: false,
      digestEvery: 1,
      poisoned: [{ topic: 'images.v1', partition: 0, offset: 3 }],
      isCompacted: false,
      samples: [],
      log: [],
    },
  }
}

function turns(): Turn[] {
  return [
    own(0),
    flush(0, [0, 1], [[`${plate}#plan`, toBinary(PlatePlanSchema, plan)]], []),
    // Died after its claim; the next owner's claim ended its barrier.
    { ...own(1), outcome: 'abort' },
    own(3),
    flush(3, [3, 1], sites([RunState.DONE, RunState.DONE, RunState.RUNNING]), [
      resultOf(image('w1'), 'echo-image', { at: startMs + 20 }),
      resultOf(image('w2'), 'echo-image', { at: startMs + 70 }),
    ]),
    flush(3, [4, 1], sites([RunState.DONE, RunState.DONE, RunState.PARKED]), [
      deadLetter(),
      refusal(),
    ]),
    flush(
      3,
      [4, 1],
      [],
      [
        closed(site, { closedBy: ClosedBy.DEADLINE, holes: [badHole, lateHole] }),
        resultOf(site, 'echo-site', {
          at: closeMs + 20,
          inputs: ['z0/w1/echo-image#1', 'z0/w2/echo-image#1'],
        }),
      ],
    ),
    flush(3, [4, 1], groups(), [
      closed(well, { closedBy: ClosedBy.DEADLINE }),
      resultOf(well, 'echo-well', { at: closeMs + 40, inputs: ['s1/echo-site#1'] }),
      closed(plate, { closedBy: ClosedBy.DEADLINE }),
      resultOf(plate, 'echo-plate', { at: closeMs + 60, inputs: ['A01/t0/echo-well#1'] }),
      plateEvent(),
    ]),
  ]
}

export const badHole = { entity: image('w3'), reason: 'BAD_DATA', step: 'echo-image' }
const lateHole = { entity: image('w4'), reason: 'NEVER_ARRIVED', step: '' }

export function own(epoch: number): Turn {
  return { epoch, outcome: 'commit', what: { kind: 'own' } }
}

export function flush(
  epoch: number,
  next: [images: number, commands: number],
  state: [string, Uint8Array | null][],
  outputs: Written[],
): Turn {
  return { epoch, outcome: 'commit', what: { kind: 'flush', state, outputs, next, forged: {} } }
}

/** State of the site, with the runs of its images: two beside it, the others in a record of their own. */
export function sites(states: readonly RunState[]): [string, Uint8Array][] {
  const images = states.map((state, at) =>
    create(ImageStateSchema, { channel: { name: `w${at + 1}` }, runs: [runIn(0, state)] }),
  )
  const held = (some: typeof images): Uint8Array =>
    toBinary(SiteStateSchema, create(SiteStateSchema, { images: some }))
  const own: [string, Uint8Array] = [site, held(images.slice(0, 2))]
  return images.length > 2 ? [own, [`${site}#images.1`, held(images.slice(2))]] : [own]
}

function groups(): [string, Uint8Array][] {
  const runs = (step: number): StepRun[] => [runIn(step, RunState.DONE)]
  return [
    [well, toBinary(WellStateSchema, create(WellStateSchema, { runs: runs(2) }))],
    [plate, toBinary(PlateStateSchema, create(PlateStateSchema, { runs: runs(3) }))],
    [`${plate}#run.3`, toBinary(RunPayloadSchema, create(RunPayloadSchema, { inputs: ['A01'] }))],
  ]
}

/** What a retired plate keeps. */
export function summary(): [string, Uint8Array] {
  return [plate, toBinary(PlateStateSchema, create(PlateStateSchema, { retired: {} }))]
}

function runIn(step: number, state: RunState): StepRun {
  return create(StepRunSchema, { step, state, generation: 1, attempt: 1 })
}

export function announcement(channel: string, atMs: number): Written {
  const message = create(ImageAcquiredSchema, {
    identity: create(IdentitySchema, {
      experiment: 'E',
      plate: 'P',
      acquisition: 'a1',
      well: 'A01',
      timePoint: 0,
      site: 1,
      z: 0,
      channel,
    }),
    artifact: { sha256: digestOf(channel) },
  })
  return written('images.v1', 'E/P', ImageAcquiredSchema.typeName, {
    value: toBinary(ImageAcquiredSchema, message),
    atMs,
  })
}

export type ResultWords = Partial<Omit<StepResult, 'output' | '$typeName' | '$unknown'>> & {
  readonly at?: number
  readonly digest?: string
}

/** A result as the echo service and an honest coordinator would have it, but for what is said otherwise. */
export function resultOf(entity: string, step: string, words: ResultWords = {}): Written {
  const { at = closeMs, digest = digests.get(entity) ?? '', ...rest } = words
  const revision = words.revision ?? 1
  const output = create(EchoImageResponseSchema, { digest })
  const message = create(StepResultSchema, {
    entity,
    step,
    pipeline,
    revision,
    supersedesRevision: revision - 1,
    generation: 1,
    idempotencyKey: keyOf(entity, step),
    inputDigest: digestOf(`${entity} in`),
    attempts: 1,
    ...rest,
    output: {
      typeUrl: `type.googleapis.com/${EchoImageResponseSchema.typeName}`,
      value: toBinary(EchoImageResponseSchema, output),
    },
  })
  return written(
    'results.v1',
    `${entity}/${step}@${pipeline}#${revision}`,
    StepResultSchema.typeName,
    {
      value: toBinary(StepResultSchema, message),
      atMs: at,
    },
  )
}

type CloseWords = Partial<Pick<LevelClosed, 'closedBy' | 'revision' | 'holesLeftOut'>> & {
  readonly holes?: readonly { entity: string; reason: string; step: string }[]
}

export function closed(entity: string, words: CloseWords = {}): Written {
  const { revision = 1, holes = [], ...rest } = words
  const message = create(LevelClosedSchema, {
    entity,
    pipeline,
    revision,
    closedAt: timestampFromMs(closeMs),
    holes: [...holes],
    ...rest,
  })
  return written(
    'results.v1',
    `${entity}/close@${pipeline}#${revision}`,
    LevelClosedSchema.typeName,
    {
      value: toBinary(LevelClosedSchema, message),
      atMs: closeMs,
    },
  )
}

export function deadLetter(attempts = 1, suffix = ''): Written {
  const entity = image('w3')
  const message = create(DeadLetterSchema, {
    entity,
    step: 'echo-image',
    pipeline,
    generation: 1,
    revision: 1,
    attempts,
  })
  const key = `${entity}/echo-image@${pipeline}#g1${suffix}`
  return written('dead-letters.v1', key, DeadLetterSchema.typeName, {
    value: toBinary(DeadLetterSchema, message),
  })
}

export function refusal(offset = 3): Written {
  const origin = { topic: 'images.v1', partition: 0, offset }
  const message = create(DeadLetterSchema, { pipeline, origin })
  return written('dead-letters.v1', `images.v1/0/${offset}`, DeadLetterSchema.typeName, {
    value: toBinary(DeadLetterSchema, message),
  })
}

export function plateEvent(revision = 1): Written {
  const message = create(PlateEventSchema, { entity: plate, pipeline, revision })
  return written('plate-events.v1', 'E', PlateEventSchema.typeName, {
    value: toBinary(PlateEventSchema, message),
  })
}

export function written(
  topic: string,
  key: string,
  type: string,
  { value, atMs = startMs }: { value: Uint8Array | null; atMs?: number },
): Written {
  return { topic, key, type, value, atMs }
}

export function call(entity: string, step: string, start: number): CallLine {
  const key = keyOf(entity, step)
  return { key, attempt: 1, entity, step, start, end: start + 5, outcome: 'ok', pid: 1 }
}

export function keyOf(entity: string, step: string): string {
  return digestOf(`${entity}/${step}`).slice(0, 32)
}

const digestOf = (...parts: string[]): string =>
  createHash('sha256').update(parts.join('\n')).digest('hex')

/** What the echo service answers: an image's bytes and nothing before them; members by name; a plate's holes. */
const digests = new Map<string, string>()
for (const channel of ['w1', 'w2', 'w3', 'w4'])
  digests.set(image(channel), digestOf(digestOf(channel), ''))
digests.set(site, digestOf(`w1=${digests.get(image('w1'))}`, `w2=${digests.get(image('w2'))}`))
digests.set(well, digestOf(`A01=${digests.get(site)}`))
digests.set(plate, digestOf(`A01=${digests.get(well)}`))
