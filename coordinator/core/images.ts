// An image arrives.
import { create } from '@bufbuild/protobuf'
import { ImageStateSchema, type PlateState } from '#proto/wellspring/journal/v1/state_pb.ts'
import { ClosedBy } from '#proto/wellspring/record/v1/output_pb.ts'
import { imageName, imagePlace, plateStateOf, type Context } from './context.ts'
import type { Event } from './event.ts'
import { afterRun } from './follow.ts'
import {
  belowPlate,
  entityKey,
  parentOf,
  parseEntity,
  plateOf,
  wellOf,
} from '@wellspring/lab/entity.ts'
import { arm, countMissing, setMember } from './levels.ts'
import { PLAN_LIMITS } from './plan-limits.ts'
import { refuse } from './refuse.ts'
import { refuseRetired } from './retire.ts'
import {
  BOUNDED_VERSION,
  Member,
  isRetired,
  isStopped,
  memberIndexOf,
  needsVersion,
  type Shape,
  type Task,
} from './state.ts'
import { refuseStopped } from './stop.ts'
import { traceparentIn } from './text.ts'

/** Takes an image in once; the same again is counted, another digest under its name is refused. */
export function onImage(cx: Context, event: Extract<Event, { kind: 'image' }>): void {
  const { identity, channel, artifact } = event.image
  if (!identity || !channel || !artifact) return
  const key = entityKey(identity)
  const siteKey = parentOf(key) ?? ''
  const wellKey = parentOf(siteKey) ?? ''
  const plateKey = plateOf(key)
  if (isRetired(cx.task, key)) return refuseRetired(cx, event, key)
  if (isStopped(cx.task, key)) return refuseStopped(cx, event, key)
  const shape = cx.task.shape(plateKey)
  if (shape && !isPlanned(shape, { key, siteKey, wellKey })) {
    const message = `the plan of ${plateKey} does not name ${belowPlate(key)}`
    return refuse(cx, event, { entity: key, reason: 'NOT_IN_PLAN', message })
  }
  const { uri, sizeBytes, sha256, mediaType } = artifact
  const { name, kind, detectorCeiling, pixelOffset } = channel
  // What nobody here knows of them is not kept: it would be in the request before a take-over, and not after it.
  const image = create(ImageStateSchema, {
    z: identity.z ?? 0,
    channel: { $typeName: channel.$typeName, name, kind, detectorCeiling, pixelOffset },
    artifact: { $typeName: artifact.$typeName, uri, sizeBytes, sha256, mediaType },
    arrivedMs: cx.now,
    originTraceparent: traceparentIn(event.traceparent),
  })
  const called = imageName(image)
  const known = cx.task.sites.get(siteKey)?.images.find((one) => imageName(one) === called)
  if (known) {
    if (known.artifact?.sha256 === artifact.sha256) {
      plateStateOf(cx, key).duplicate += 1
      return
    }
    const message =
      `${key} was announced with sha256 ${known.artifact?.sha256 ?? ''} before and ${artifact.sha256} now: ` +
      'announce a new image under another acquisition'
    return refuse(cx, event, { entity: key, reason: 'IDENTITY_CONFLICT', message })
  }
  const tooMany = shape ? undefined : tooManyEarly(cx.task, { key, siteKey, wellKey })
  if (tooMany !== undefined) return refuseEarly(cx, event, { key, tooMany })
  const site = cx.task.sites.open(siteKey)
  if (shape && site.expiredBy !== ClosedBy.UNSPECIFIED) {
    // Late: what was given up is awaited again, and makes the next revision.
    countMissing(cx, siteKey, -(shape.images.length - site.images.length))
    site.expiredBy = ClosedBy.UNSPECIFIED
  }
  site.images.push(image)
  site.lastArrivalMs = cx.now
  cx.task.sites.touch(siteKey, site)
  arrived(cx, { siteKey, wellKey, plateKey })
  afterRun(cx, imagePlace(cx.task, siteKey, site, image))
}

/** What came before the plan and is more than any plan could name; undefined: the image may be among it. */
function tooManyEarly(task: Task, { key, siteKey, wellKey }: Keys): string | undefined {
  const { imagesPerSiteMax, sitesPerWellMax, membersMax } = PLAN_LIMITS
  if ((task.sites.get(siteKey)?.images.length ?? 0) >= imagesPerSiteMax)
    return `site ${siteKey} has ${imagesPerSiteMax} images already`
  const well = task.wells.get(wellKey)
  if (!task.sites.has(siteKey) && (well?.seen.length ?? 0) >= sitesPerWellMax)
    return `well ${wellKey} has ${sitesPerWellMax} sites already`
  const plate = task.plates.get(plateOf(key))
  if (well || !plate || earlyWells(plate) < membersMax) return undefined
  return `${plateOf(key)} has ${membersMax} wells already`
}

function refuseEarly(
  cx: Context,
  event: Extract<Event, { kind: 'image' }>,
  { key, tooMany }: { key: string; tooMany: string },
): void {
  refuse(cx, event, {
    entity: key,
    reason: 'TOO_MANY_BEFORE_PLAN',
    message: `${tooMany}, and no plan names any: that is the most that a plan can name`,
    hint: `announce the plan of ${plateOf(key)} first, then the image again`,
  })
}

/** Wells that came before the plan. */
function earlyWells(plate: PlateState): number {
  return Math.max(plate.earlyWells, plate.seen.length)
}

type Keys = { readonly key: string; readonly siteKey: string; readonly wellKey: string }

function isPlanned(shape: Shape, { key, siteKey, wellKey }: Keys): boolean {
  const isMember = memberIndexOf(shape, wellKey) >= 0 && memberIndexOf(shape, siteKey) >= 0
  return isMember && shape.imageSet.has(key.slice(siteKey.length + 1))
}

function arrived(cx: Context, keys: { siteKey: string; wellKey: string; plateKey: string }): void {
  const { siteKey, wellKey, plateKey } = keys
  const plate = plateStateOf(cx, plateKey)
  const isNewWell = !cx.task.wells.has(wellKey)
  const well = cx.task.wells.open(wellKey)
  plate.arrived += 1
  well.arrived += 1
  if (plate.firstArrivalMs === 0) plate.firstArrivalMs = cx.now
  plate.lastArrivalMs = cx.now
  well.lastArrivalMs = cx.now
  cx.task.wells.touch(wellKey, well)
  const shape = cx.task.shape(plateKey)
  if (!shape) {
    const { site = 0 } = parseEntity(siteKey)
    if (isNewWell) plate.earlyWells = earlyWells(plate) + 1
    if (!well.seen.includes(site)) well.seen.push(site)
    // It is found by its key.
    needsVersion(cx.task, BOUNDED_VERSION)
    return
  }
  awaitAgain(cx, siteKey)
  setMember(cx, siteKey, Member.OPEN)
  setMember(cx, wellKey, Member.OPEN)
  for (const key of [siteKey, wellKey, plateKey]) arm(cx, key)
}

/** A late image of a site or well that had been given up whole: its images are awaited again. */
function awaitAgain(cx: Context, siteKey: string): void {
  const wellKey = parentOf(siteKey) ?? ''
  const plateKey = plateOf(siteKey)
  const shape = cx.task.shape(plateKey)
  if (!shape) return
  const perSite = shape.images.length
  if (cx.task.plates.get(plateKey)?.members[memberIndexOf(shape, wellKey)] === Member.MISSING) {
    // The well's own sites are expected anew, each in its own time.
    countMissing(cx, plateKey, -shape.sites(wellOf(wellKey)).length * perSite)
    return
  }
  if (cx.task.wells.get(wellKey)?.members[memberIndexOf(shape, siteKey)] === Member.MISSING)
    countMissing(cx, wellKey, -perSite)
}
