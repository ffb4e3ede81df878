// What the virtual microscope will do, decided from a seed before it begins: plates, their nuclei, their faults.
import { create } from '@bufbuild/protobuf'
import {
  ChannelKind,
  ChannelSchema,
  IdentitySchema,
  type Channel,
  type Identity,
} from '#proto/wellspring/lab/v1/identity_pb.ts'
import { PlatePlanSchema, WellRole, type PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { entityKey, parentOf } from '@wellspring/lab/entity.ts'
import { wellAt } from '@wellspring/lab/wells.ts'
import { diceOf, type Dice } from './dice.ts'
import { placeNuclei, type Nucleus, type Stain } from './field.ts'

const PLATES = ['P1', 'P2'] as const
const ACQUISITION = 'a1'
const ROWS = 4
const COLUMNS = 6
const SITES = [1, 2] as const
const STAINS: readonly Stain[] = ['DNA', 'RNA']
const POSITIVE_COLUMN = 1
const NEGATIVE_COLUMN = COLUMNS
const DEFOCUSED_COLUMN = 3
const DEFOCUS_PX = 7

/** 12-bit camera. */
const DETECTOR_CEILING = 4_095

/** Nuclei per site; controls so far apart that the plate passes. */
const counts = { positive: [11, 13], negative: [43, 47], sample: [18, 38] } as const

/** Quiet times short enough to watch, long enough for a slow machine. */
const completeness = {
  quorum: 0.5,
  quorumAfter: { seconds: 8n, nanos: 0 },
  deadline: { seconds: 20n, nanos: 0 },
}

export type FaultKind =
  | 'missing-site'
  | 'duplicate'
  | 'truncated'
  | 'half-copied'
  | 'empty-well'
  | 'defocused-column'
  | 'service-restart'

/** Something that goes wrong on purpose. target: an entity key, <plate>/column-NN, or a service's name. */
export type Fault = { readonly kind: FaultKind; readonly target: string }

/** One exposure: one site in one channel. */
export type Shot = {
  readonly entity: string
  readonly identity: Identity
  readonly channel: Channel
  readonly stain: Stain
  readonly nuclei: readonly Nucleus[]
  readonly blurPx: number
  /** What hits this very image. */
  readonly faults: readonly FaultKind[]
}

export type Demo = {
  readonly seed: string
  readonly experiment: string
  readonly plans: readonly PlatePlan[]
  /** In the order of exposure: both plates at once, as on two microscopes. */
  readonly shots: readonly Shot[]
  readonly faults: readonly Fault[]
  /** Nuclei that a site really has, by its entity key. */
  readonly truth: ReadonlyMap<string, number>
}

/** Plans a demo experiment. The same seed gives the same demo; `restarted` names a service to be killed. */
export function planDemo(seed: string, experiment: string, restarted: string): Demo {
  const plans = PLATES.map((plate) => planPlate(experiment, plate))
  const faults = chooseFaults(plans, restarted, diceOf(`${seed}/faults`))
  const sites = plans.map((plan) => sitesOf(plan).map((site) => populate(site, faults, seed)))
  return {
    seed,
    experiment,
    plans,
    shots: interleave(sites.map((ofPlate) => ofPlate.flatMap((site) => shotsOf(site, faults)))),
    faults,
    truth: new Map(
      sites.flat().map(({ identity, nuclei: { length } }) => [entityKey(identity), length]),
    ),
  }
}

/** Whether an entity is what a fault was aimed at, or lies below it. */
export function isHit({ target }: Fault, entity: string): boolean {
  const column = /^(.*)\/column-(\d\d)$/.exec(target)
  if (!column) return entity === target || entity.startsWith(`${target}/`)
  const [, plate = '', number = ''] = column
  return (
    entity.startsWith(`${plate}/`) && entity.slice(plate.length + 2, plate.length + 4) === number
  )
}

function planPlate(experiment: string, plate: string): PlatePlan {
  return create(PlatePlanSchema, {
    experiment,
    plate,
    acquisition: ACQUISITION,
    wells: wellsInOrder().map((well) => ({
      well,
      role: roleOf(well),
      treatment: treatmentOf(well),
    })),
    sites: [...SITES],
    timePoints: [0],
    zPlanes: [0],
    referenceZ: 0,
    channels: STAINS.map(channelOf),
    completeness,
  })
}

/** Meandering, row by row, as a stage travels. */
function wellsInOrder(): string[] {
  return Array.from({ length: ROWS }, (_, row) => {
    const columns = Array.from({ length: COLUMNS }, (_c, column) => wellAt(row + 1, column + 1))
    return row % 2 === 0 ? columns : columns.reverse()
  }).flat()
}

function roleOf(well: string): WellRole {
  const column = Number(well.slice(1))
  if (column === POSITIVE_COLUMN) return WellRole.POSITIVE_CONTROL
  return column === NEGATIVE_COLUMN ? WellRole.NEGATIVE_CONTROL : WellRole.SAMPLE
}

function treatmentOf(well: string): string {
  const role = roleOf(well)
  if (role === WellRole.POSITIVE_CONTROL) return 'staurosporine 1 µM'
  return role === WellRole.NEGATIVE_CONTROL ? 'DMSO' : `compound ${well}`
}

function countFor(role: WellRole, dice: Dice): number {
  const { positive, negative, sample } = counts
  if (role === WellRole.POSITIVE_CONTROL) return dice.from(positive)
  return role === WellRole.NEGATIVE_CONTROL ? dice.from(negative) : dice.from(sample)
}

function channelOf(stain: Stain): Channel {
  const kind = stain === 'DNA' ? ChannelKind.NUCLEI : ChannelKind.FLUORESCENCE
  return create(ChannelSchema, { name: stain, kind, detectorCeiling: DETECTOR_CEILING })
}

/** Five faults in five different sample wells of the first plate, a column of the second, and a service. */
function chooseFaults(plans: readonly PlatePlan[], restarted: string, dice: Dice): Fault[] {
  const [first, second] = plans
  if (!first || !second) throw new Error('a demo has two plates')
  const rest = sitesOf(first).filter(({ well = '' }) => roleOf(well) === WellRole.SAMPLE)
  const pick = (): string => {
    const site = rest[dice.below(rest.length)]
    if (!site) throw new Error('a demo plate needs five sample wells')
    rest.splice(0, rest.length, ...rest.filter(({ well }) => well !== site.well))
    return entityKey(site)
  }
  return [
    { kind: 'missing-site', target: pick() },
    { kind: 'duplicate', target: `${pick()}/z0/DNA` },
    { kind: 'truncated', target: `${pick()}/z0/RNA` },
    { kind: 'half-copied', target: `${pick()}/z0/DNA` },
    { kind: 'empty-well', target: parentOf(pick()) ?? '' },
    { kind: 'defocused-column', target: `${plateKey(second)}/column-0${DEFOCUSED_COLUMN}` },
    { kind: 'service-restart', target: restarted },
  ]
}

function plateKey({ experiment, plate, acquisition }: PlatePlan): string {
  return `${experiment}/${plate}/${acquisition}`
}

function sitesOf({ experiment, plate, acquisition, wells }: PlatePlan): Identity[] {
  return wells.flatMap(({ well }) =>
    SITES.map((site) =>
      create(IdentitySchema, { experiment, plate, acquisition, well, timePoint: 0, site }),
    ),
  )
}

type Site = { readonly identity: Identity; readonly nuclei: readonly Nucleus[] }

/** The nuclei of a site: chance depends on the seed and the place, not on the experiment's name. */
function populate(identity: Identity, faults: readonly Fault[], seed: string): Site {
  const { plate, well = '', site } = identity
  const key = entityKey(identity)
  const empty = faults.some((fault) => fault.kind === 'empty-well' && isHit(fault, key))
  const dice = diceOf(`${seed}/${plate}/${well}/${site}`)
  return { identity, nuclei: empty ? [] : placeNuclei(countFor(roleOf(well), dice), dice) }
}

function shotsOf({ identity, nuclei }: Site, faults: readonly Fault[]): Shot[] {
  return STAINS.map((stain) => {
    const ours = create(IdentitySchema, { ...identity, z: 0, channel: stain })
    const entity = entityKey(ours)
    const hits = faults.filter((fault) => isHit(fault, entity)).map(({ kind }) => kind)
    const blurPx = hits.includes('defocused-column') ? DEFOCUS_PX : 0
    return {
      entity,
      identity: ours,
      channel: channelOf(stain),
      stain,
      nuclei,
      blurPx,
      faults: hits,
    }
  })
}

function interleave(plates: readonly (readonly Shot[])[]): Shot[] {
  const longest = Math.max(...plates.map(({ length }) => length))
  return Array.from({ length: longest }, (_, i) =>
    plates.flatMap((shots) => shots.slice(i, i + 1)),
  ).flat()
}
