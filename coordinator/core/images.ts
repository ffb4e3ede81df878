// An image arrives.
import { create } from '@bufbuild/protobuf'
import { ImageStateSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import { ClosedBy } from '#proto/wellspring/record/v1/output_pb.ts'
import type { Context } from './context.ts'
import { imageName, imagePlace, plateStateOf } from './context.ts'
import type { Event } from './event.ts'
import { afterRun } from './follow.ts'
import { entityKey, parentOf, parseEntity, plateOf } from './ids.ts'
import { arm, countMissing, setMember } from './levels.ts'
import { refuse } from './refuse.ts'
import { refuseRetired } from './retire.ts'
import { Member, isRetired } from './state.ts'

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
  if (shape && !isPlanned(cx, key)) {
    const message = `the plan of ${plateKey} does not name ${key.slice(plateKey.length + 1)}`
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

function isPlanned(cx: Context, key: string): boolean {
  const shape = cx.task.shape(plateOf(key))
  const { well = '', timePoint = 0, site = 0, z = 0, channel = '' } = parseEntity(key)
  if (!shape?.memberIndex.has(`${well}/t${timePoint}`)) return false
  return shape.sites(well).includes(site) && shape.imageSet.has(`z${z}/${channel}`)
}

function arrived(cx: Context, keys: { siteKey: string; wellKey: string; plateKey: string }): void {
  const { siteKey, wellKey, plateKey } = keys
  const plate = plateStateOf(cx, plateKey)
  const well = cx.task.wells.open(wellKey)
  const { site = 0 } = parseEntity(siteKey)
  plate.arrived += 1
  well.arrived += 1
  if (plate.firstArrivalMs === 0) plate.firstArrivalMs = cx.now
  plate.lastArrivalMs = cx.now
  well.lastArrivalMs = cx.now
  cx.task.wells.touch(wellKey, well)
  const shape = cx.task.shape(plateKey)
  if (!shape) {
    const name = wellKey.slice(plateKey.length + 1)
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
  const { well = '', site = 0 } = parseEntity(siteKey)
  const perSite = shape.images.length
  const wellIndex = shape.memberIndex.get(wellKey.slice(plateKey.length + 1)) ?? -1
  if (cx.task.plates.get(plateKey)?.members[wellIndex] === Member.MISSING) {
    // The well's own sites are expected anew, each in its own time.
    countMissing(cx, plateKey, -shape.sites(well).length * perSite)
    return
  }
  const siteIndex = shape.sites(well).indexOf(site)
  if (cx.task.wells.get(wellKey)?.members[siteIndex] === Member.MISSING)
    countMissing(cx, wellKey, -perSite)
}
