// An image arrives.
import { create } from '@bufbuild/protobuf'
import { ImageStateSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import { ClosedBy } from '#proto/wellspring/record/v1/output_pb.ts'
import type { Context } from './context.ts'
import { imageName, imagePlace, plateStateOf } from './context.ts'
import type { Event } from './event.ts'
import { afterRun } from './follow.ts'
import { belowPlate, entityKey, parentOf, parseEntity, plateOf, wellOf } from './ids.ts'
import { arm, countMissing, setMember } from './levels.ts'
import { refuse } from './refuse.ts'
import { refuseRetired } from './retire.ts'
import type { Shape } from './state.ts'
import { Member, isRetired, memberIndexOf } from './state.ts'

/** Takes an image in once; the same again is counted, another digest under its name is refused. */
export function onImage(cx: Context, event: Extract<Event, { kind: 'image' }>): void {
  const { identity, channel, artifact } = event.image
  if (!identity || !channel || !artifact) return
  const key = entityKey(identity)
  const siteKey = parentOf(key) ?? ''
  const wellKey = parentOf(siteKey) ?? ''
  const plateKey = plateOf(key)
  if (isRetired(cx.task, key)) return refuseRetired(cx, event, key)
  const shape = cx.task.shape(plateKey)
  if (shape && !isPlanned(shape, { key, siteKey, wellKey })) {
    const message = `the plan of ${plateKey} does not name ${belowPlate(key)}`
    return refuse(cx, event, { entity: key, reason: 'NOT_IN_PLAN', message })
  }
  const plate = plateStateOf(cx, key)
  const site = cx.task.sites.open(siteKey)
  const image = create(ImageStateSchema, {
    z: identity.z ?? 0,
    channel,
    artifact,
    arrivedMs: cx.now,
    originTraceparent: event.traceparent,
  })
  const known = site.images.find((one) => imageName(one) === imageName(image))
  if (known) {
    if (known.artifact?.sha256 === artifact.sha256) {
      plate.duplicate += 1
      return
    }
    const message =
      `${key} was announced with sha256 ${known.artifact?.sha256 ?? ''} before and ${artifact.sha256} now: ` +
      'announce a new image under another acquisition'
    return refuse(cx, event, { entity: key, reason: 'IDENTITY_CONFLICT', message })
  }
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

type Keys = { readonly key: string; readonly siteKey: string; readonly wellKey: string }

function isPlanned(shape: Shape, { key, siteKey, wellKey }: Keys): boolean {
  const isMember = memberIndexOf(shape, wellKey) >= 0 && memberIndexOf(shape, siteKey) >= 0
  return isMember && shape.imageSet.has(key.slice(siteKey.length + 1))
}

function arrived(cx: Context, keys: { siteKey: string; wellKey: string; plateKey: string }): void {
  const { siteKey, wellKey, plateKey } = keys
  const plate = plateStateOf(cx, plateKey)
  const well = cx.task.wells.open(wellKey)
  plate.arrived += 1
  well.arrived += 1
  if (plate.firstArrivalMs === 0) plate.firstArrivalMs = cx.now
  plate.lastArrivalMs = cx.now
  well.lastArrivalMs = cx.now
  cx.task.wells.touch(wellKey, well)
  const shape = cx.task.shape(plateKey)
  if (!shape) {
    const name = belowPlate(wellKey)
    const { site = 0 } = parseEntity(siteKey)
    if (!plate.seen.includes(name)) plate.seen.push(name)
    if (!well.seen.includes(site)) well.seen.push(site)
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
