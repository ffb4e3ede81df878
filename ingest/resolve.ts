// From sightings to identities: which plate, which channel, and no two files for one image.
import { create } from '@bufbuild/protobuf'
import {
  ChannelKind,
  ChannelSchema,
  IdentitySchema,
  type Channel,
  type Identity,
} from '#proto/wellspring/lab/v1/identity_pb.ts'
import { encodeId, entityKey } from '@wellspring/lab/entity.ts'
import { kindOfName } from './channels.ts'
import { artifactOf, mapOrdered } from './digest.ts'
import type { PixelOffsets } from './offsets.ts'
import { messageOf, type Layout, type Refusal, type Sighting, type Survey } from './sighting.ts'
import { tell, type Told } from './tell.ts'

export type ResolveOptions = {
  readonly experiment: string
  /** Plate of images that do not tell theirs. */
  readonly plate?: string | undefined
  /** Acquisition of images that do not tell theirs; default a1. */
  readonly acquisition?: string | undefined
  /** Kinds by channel name or stain as the source writes it. */
  readonly channels?: ReadonlyMap<string, ChannelKind> | undefined
  /** Grey level at which the detector saturates; 0: the type's maximum. */
  readonly detectorCeiling?: number | undefined
  /** Grey levels of no light, for images whose source does not state theirs. */
  readonly pixelOffsets?: PixelOffsets | undefined
}

/** An image with its identity; its bytes are not read yet. */
export type ResolvedImage = {
  readonly sighting: Told
  readonly identity: Identity
  readonly channel: Channel
}

/** One plate acquisition: everything the source promises of it, and what can be announced. */
export type ResolvedPlate = {
  /** Entity key of the plate acquisition. */
  readonly entity: string
  readonly layout: Layout | undefined
  /** Channels in the order of the layout or of appearance. */
  readonly channels: readonly Channel[]
  /** Every identity the source names, announced or refused. */
  readonly promised: readonly Identity[]
  readonly images: readonly ResolvedImage[]
}

export type Resolved = {
  readonly plates: readonly ResolvedPlate[]
  readonly refusals: readonly Refusal[]
  readonly notes: readonly string[]
}

const headersAtOnce = 8

type Gathered = {
  readonly plate: string
  readonly channels: Map<string, Channel>
  readonly images: ResolvedImage[]
  readonly promised: Identity[]
}

/** Throws only on options that fit nothing; whatever is wrong with an image is a refusal. */
export async function resolveSurvey(survey: Survey, options: ResolveOptions): Promise<Resolved> {
  const refusals: Refusal[] = []
  const notes: string[] = []
  const named: Told[] = []
  for await (const told of mapOrdered(survey.sightings, headersAtOnce, (seen) =>
    tell(seen, options.plate),
  )) {
    if ('reason' in told) refusals.push(told)
    else named.push(told)
  }
  const layouts = new Map(survey.layouts.map((layout) => [layout.plate, layout]))
  checkChannelOptions(named, survey.layouts, options)

  const byPlate = new Map<string, Gathered>()
  for (const seen of named) {
    try {
      const acquisition = encodeId(seen.acquisition ?? options.acquisition ?? 'a1')
      const plateKey = `${encodeId(options.experiment)}/${encodeId(seen.plate)}/${acquisition}`
      const plate = byPlate.get(plateKey) ?? emptyPlate(seen.plate, layouts, options)
      byPlate.set(plateKey, plate)
      const reason = gather(plate, plateKey, seen, options)
      if (reason !== undefined) refusals.push({ origin: seen.origin, reason })
    } catch (error) {
      refusals.push({ origin: seen.origin, reason: messageOf(error) })
    }
  }
  const plates: ResolvedPlate[] = []
  for (const [entity, gathered] of byPlate) {
    const { images, refused, repeated } = await settle(gathered.images)
    refusals.push(...refused)
    if (repeated > 0)
      notes.push(`${repeated} files of ${entity} are listed twice with the same bytes`)
    const channels = [...gathered.channels.values()].map((channel) =>
      plannedChannel(entity, channel, gathered.images, notes),
    )
    const { promised } = gathered
    plates.push({ entity, layout: layouts.get(gathered.plate), channels, promised, images })
  }
  return { plates, refusals, notes }
}

function emptyPlate(
  plate: string,
  layouts: ReadonlyMap<string, Layout>,
  options: ResolveOptions,
): Gathered {
  const channels = declaredChannels(layouts.get(plate), options)
  return { plate, channels, images: [], promised: [] }
}

/** Takes an image in under its identity. Returns why it is promised only; throws when it can be no image of ours. */
function gather(
  plate: Gathered,
  plateKey: string,
  seen: Told,
  options: ResolveOptions,
): string | undefined {
  const channel = plate.channels.get(seen.channel) ?? channelOf(seen, options)
  const identity = identityOf(plateKey, seen, channel.name)
  plate.channels.set(seen.channel, channel)
  plate.promised.push(identity)
  if (seen.header.refusal !== undefined) return seen.header.refusal
  const pixelOffset = pixelOffsetOf(seen, options)
  const own = pixelOffset === 0 ? channel : create(ChannelSchema, { ...channel, pixelOffset })
  plate.images.push({ sighting: seen, identity, channel: own })
  return undefined
}

/** What the source says, else the person who ingests, else the file. */
function pixelOffsetOf(seen: Told, { pixelOffsets }: ResolveOptions): number {
  return (
    seen.pixelOffset ??
    pixelOffsets?.byChannel.get(seen.channel) ??
    pixelOffsets?.byChannel.get(seen.stain ?? '') ??
    pixelOffsets?.every ??
    seen.header.pixelOffset
  )
}

/** A channel of the plan, with the pixel offset that its images agree on. */
function plannedChannel(
  entity: string,
  channel: Channel,
  images: readonly ResolvedImage[],
  notes: string[],
): Channel {
  if (channel.kind === ChannelKind.UNSPECIFIED)
    notes.push(
      `${entity}: what channel ${channel.name} shows is not known, so nuclei are not looked for in it: say --channels "${channel.name}=nuclei" (or fluorescence, brightfield)`,
    )
  const own = images.filter((image) => image.channel.name === channel.name)
  const offsets = [...new Set(own.map((image) => image.channel.pixelOffset))]
  const [pixelOffset = 0] = offsets
  if (offsets.length > 1)
    notes.push(
      `${entity}: images of channel ${channel.name} have different pixel offsets (${offsets.join(', ')}): each is measured with its own`,
    )
  else if (pixelOffset === 0 && own.some(({ sighting }) => sighting.header.mayBeSigned))
    notes.push(
      `${entity}: channel ${channel.name} was written by National Instruments IMAQ, as ScanR's images are: if its grey levels begin at 32768, say --pixel-offset "${own[0]?.sighting.channel ?? ''}=32768"`,
    )
  else if (pixelOffset > 0)
    notes.push(
      `${entity}: ${pixelOffset} is subtracted from every pixel of channel ${channel.name}`,
    )
  return offsets.length > 1 || pixelOffset === 0
    ? channel
    : create(ChannelSchema, { ...channel, pixelOffset })
}

function checkChannelOptions(
  named: readonly Sighting[],
  layouts: readonly Layout[],
  options: ResolveOptions,
): void {
  const names = new Set([
    ...named.flatMap((seen) => [seen.channel, seen.stain ?? '']),
    ...layouts.flatMap((layout) => layout.channels.flatMap(({ id, stain }) => [id, stain])),
  ])
  names.delete('')
  const asked = [
    ...[...(options.channels?.keys() ?? [])].map((name) => ['--channels', name] as const),
    ...[...(options.pixelOffsets?.byChannel.keys() ?? [])].map(
      (name) => ['--pixel-offset', name] as const,
    ),
  ]
  for (const [flag, name] of asked)
    if (!names.has(name) && names.size > 0)
      throw new Error(`${flag}: there is no channel "${name}"; there are ${[...names].join(', ')}`)
}

/** Channels that the metadata declares come first, in its order, whether files are there or not. */
function declaredChannels(
  layout: Layout | undefined,
  options: ResolveOptions,
): Map<string, Channel> {
  return new Map(
    (layout?.channels ?? []).map(({ id, stain }) => [id, channelNamed(id, stain, options)]),
  )
}

/** A channel whose name says nothing may have its illumination written in the file. */
function channelOf(seen: Told, options: ResolveOptions): Channel {
  const channel = channelNamed(seen.channel, seen.stain, options)
  if (channel.kind !== ChannelKind.UNSPECIFIED || seen.stain !== undefined) return channel
  return channelNamed(seen.channel, seen.header.illumination, options)
}

function channelNamed(id: string, stain: string | undefined, options: ResolveOptions): Channel {
  const told = options.channels?.get(id) ?? options.channels?.get(stain ?? '')
  return create(ChannelSchema, {
    name: encodeId(id),
    kind: told ?? (kindOfName(id) || kindOfName(stain ?? '')),
    detectorCeiling: options.detectorCeiling ?? 0,
  })
}

function identityOf(plateKey: string, seen: Sighting, channel: string): Identity {
  const [experiment = '', plate = '', acquisition = ''] = plateKey.split('/')
  const { well, timePoint, site, z } = seen
  return create(IdentitySchema, {
    experiment,
    plate,
    acquisition,
    well,
    timePoint,
    site,
    z,
    channel,
  })
}

/** One file per identity: the same bytes twice are one image, different bytes are refused, all of them. */
async function settle(
  all: readonly ResolvedImage[],
): Promise<{ images: ResolvedImage[]; refused: Refusal[]; repeated: number }> {
  const groups = Map.groupBy(all, (image) => entityKey(image.identity))
  const images: ResolvedImage[] = []
  const refused: Refusal[] = []
  let repeated = 0
  for (const [key, group] of groups) {
    const [first, ...rest] = group
    if (first === undefined) continue
    const digests = new Set<string>()
    if (rest.length > 0) for (const image of group) digests.add(await digestOf(image.sighting.path))
    if (digests.size <= 1) {
      images.push(first)
      repeated += rest.length
      continue
    }
    const names = group.map((image) => image.sighting.origin)
    for (const image of group) {
      const others = names.filter((name) => name !== image.sighting.origin).join(', ')
      refused.push({
        origin: image.sighting.origin,
        reason: `two different files claim to be ${key}: this one and ${others}`,
      })
    }
  }
  return { images: images.sort(bySite), refused, repeated }
}

/** Site by site: one whose images come far apart would be given up as quiet in between. */
function bySite({ identity: a }: ResolvedImage, { identity: b }: ResolvedImage): number {
  const wells = (a.well ?? '').length - (b.well ?? '').length
  return (
    wells ||
    compare(a.well, b.well) ||
    compare(a.timePoint, b.timePoint) ||
    compare(a.site, b.site) ||
    compare(a.z, b.z) ||
    compare(a.channel, b.channel)
  )
}

function compare<T extends string | number>(a: T | undefined, b: T | undefined): number {
  if (a === undefined || b === undefined || a === b) return 0
  return a < b ? -1 : 1
}

async function digestOf(path: string): Promise<string> {
  return artifactOf(path).then(
    (artifact) => artifact.sha256,
    (error: unknown) => `unreadable ${path} ${messageOf(error)}`,
  )
}
