// ingest: from a folder or a manifest to announced plates.
import { ChannelKindSchema, type ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { PlatePlanSchema, type PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { ImageAcquiredSchema, type ImageAcquired } from '#proto/wellspring/record/v1/input_pb.ts'
import type { JsonValue } from '@bufbuild/protobuf'
import { entityKey } from '@wellspring/lab/entity.ts'
import { announcePlate, type Announced, type Announcer } from '../ingest/announce.ts'
import type { Completeness } from '../ingest/completeness.ts'
import type { PixelOffsets } from '../ingest/offsets.ts'
import { planOf } from '../ingest/plan.ts'
import { resolveSurvey, type ResolvedPlate } from '../ingest/resolve.ts'
import type { Refusal } from '../ingest/sighting.ts'
import { survey } from '../ingest/survey.ts'
import { kafkaPlace, type WhereFlags } from './environment.ts'
import { CliError, EXIT } from './exit.ts'
import { jsonOf } from './json.ts'
import { progress, say, showList, type Format } from './output.ts'
import { openTopics } from './topics.ts'
import { quoted } from './why.ts'

export type IngestFlags = WhereFlags & {
  readonly output: Format
  readonly experiment: string
  readonly root?: string
  readonly plate?: string
  readonly acquisition?: string
  readonly channels?: ReadonlyMap<string, ChannelKind>
  readonly detectorCeiling?: number
  readonly pixelOffset?: PixelOffsets
  readonly completeness: Completeness
  readonly dryRun: boolean
}

type Told = {
  readonly plate: string
  readonly planned: number
  readonly announced: number
  readonly plan: PlatePlan
  readonly images: readonly ImageAcquired[]
}

const instrument = 'wellspring ingest'

/** Announces all plates found at the path. Refused images make the exit code 1; the others go on. */
export async function ingest(path: string, flags: IngestFlags): Promise<void> {
  const found = await survey(path, flags.root === undefined ? {} : { root: flags.root })
  const resolved = await resolveSurvey(found, { ...flags, pixelOffsets: flags.pixelOffset })
  for (const note of [...found.notes, ...resolved.notes]) say(`note     ${note}`)
  const refusals = [...found.refusals, ...resolved.refusals]
  const told: Told[] = []
  const announcer = await openAnnouncer(flags)
  try {
    for (const plate of resolved.plates) {
      const one = await announceOne(plate, announcer, flags)
      told.push(one.told)
      refusals.push(...one.refusals)
    }
  } finally {
    await announcer.close()
  }
  const items = [
    ...told.map((one) => toldJson(one, flags.dryRun)),
    ...refusals.map(({ origin, reason }) => ({ refused: origin, reason })),
  ]
  showList(flags.output, items, told, (shown) =>
    shown.map((one) => toldText(one, flags.dryRun)).join('\n'),
  )
  for (const { origin, reason } of refusals) say(`refused  ${origin}: ${reason}`)
  const next = told[0]
  if (next && !flags.dryRun && flags.output === 'text')
    say(`next: npx wellspring plate ${quoted(next.plate)}`)
  if (refusals.length > 0)
    throw new CliError(
      EXIT.failed,
      `${refusals.length} of ${countAll(told, refusals)} were refused`,
    )
}

type Closable = Announcer & { readonly application: string; close(): Promise<void> }

/** With --dry-run nothing is asked of a broker. */
async function openAnnouncer(flags: IngestFlags): Promise<Closable> {
  if (flags.dryRun)
    return { application: 'wellspring', announce: async () => {}, close: async () => {} }
  const place = kafkaPlace(flags)
  const topics = await openTopics(place)
  return {
    application: place.application,
    announce: (records) => topics.announce(records),
    close: () => topics.close(),
  }
}

async function announceOne(
  plate: ResolvedPlate,
  announcer: Closable,
  flags: IngestFlags,
): Promise<{ told: Told; refusals: readonly Refusal[] }> {
  const plan = planOf(plate, flags.completeness)
  const images: ImageAcquired[] = []
  const announced: Announced = await announcePlate(plan, plate.images, announcer, {
    application: announcer.application,
    author: instrument,
    onImage: (image) => {
      if (flags.dryRun) images.push(image)
      else progress(image.identity ? entityKey(image.identity) : '')
    },
  })
  if (!flags.dryRun) progress('')
  const told = {
    plate: plate.entity,
    planned: plannedImages(plan),
    announced: announced.images,
    plan,
    images,
  }
  return { told, refusals: announced.refusals }
}

function plannedImages(plan: PlatePlan): number {
  const sites = plan.wells.reduce(
    (sum, well) => sum + (well.sites.length > 0 ? well.sites.length : plan.sites.length),
    0,
  )
  return sites * plan.timePoints.length * plan.zPlanes.length * plan.channels.length
}

function toldJson({ plate, planned, announced, plan, images }: Told, dryRun: boolean): JsonValue {
  return {
    plate,
    planned,
    announced: dryRun ? 0 : announced,
    dryRun,
    plan: jsonOf(PlatePlanSchema, plan),
    ...(dryRun && { images: images.map((image) => jsonOf(ImageAcquiredSchema, image)) }),
  }
}

function toldText({ plate, planned, announced, plan, images }: Told, dryRun: boolean): string {
  const channels = plan.channels.map(({ name, kind }) => `${name} (${kindWord(kind)})`).join(', ')
  const missing = planned - announced
  const lines = [
    `${plate}  ${dryRun ? 'would announce' : 'announced'} ${announced} of ${planned} planned images` +
      (missing > 0 ? `, ${missing} planned but not there` : ''),
    `  ${plan.wells.length} wells, ${plan.timePoints.length} time points, z ${plan.zPlanes.join(' ')} (reference ${plan.referenceZ}), channels ${channels}`,
    ...images.map(
      ({ identity, artifact }) =>
        `  ${identity ? entityKey(identity) : ''}  ${artifact?.uri ?? ''}`,
    ),
  ]
  return lines.join('\n')
}

function kindWord(kind: ChannelKind): string {
  const name = ChannelKindSchema.value[kind]?.name.replace('CHANNEL_KIND_', '').toLowerCase()
  return name === 'unspecified' ? 'unknown' : (name ?? String(kind))
}

function countAll(told: readonly Told[], refusals: readonly Refusal[]): string {
  const images = told.reduce((sum, one) => sum + one.announced, 0)
  return `${images + refusals.length} found`
}
