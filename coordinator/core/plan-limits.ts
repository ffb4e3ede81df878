// How large a plate acquisition may be: what a plan may ask for, and what may come before it. What is more is refused by
// name, since state could not hold it, or nobody could wait for it.
import type { PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'

export const PLAN_LIMITS = {
  /** Z planes times channels. */
  imagesPerSiteMax: 384,
  /** As PlannedWell.sites and PlatePlan.sites have it. */
  sitesPerWellMax: 256,
  /** Wells times time points: a plate's own record has a byte for each. */
  membersMax: 100_000,
  /** Over all wells and time points: some 6 GB of state. */
  imagesMax: 10_000_000,
} as const

/** Images that a plan names, over all wells and time points. */
export function imagesOf(plan: PlatePlan): number {
  const sites = plan.wells.reduce((sum, one) => sum + (one.sites.length || plan.sites.length), 0)
  return sites * plan.timePoints.length * plan.zPlanes.length * plan.channels.length
}

/** Why a plan is too large, with the numbers; undefined: it is not. */
export function planTooLarge(plan: PlatePlan): string | undefined {
  const { imagesPerSiteMax, membersMax, imagesMax } = PLAN_LIMITS
  const { wells, timePoints, zPlanes, channels } = plan
  const perSite = zPlanes.length * channels.length
  if (perSite > imagesPerSiteMax)
    return (
      `${perSite} images per site (${zPlanes.length} z planes × ${channels.length} channels); ` +
      `${imagesPerSiteMax} are the most`
    )
  const members = wells.length * timePoints.length
  if (members > membersMax)
    return (
      `${members} wells over time (${wells.length} wells × ${timePoints.length} time points); ` +
      `${membersMax} are the most`
    )
  const images = imagesOf(plan)
  if (images > imagesMax) return `${images} images; ${imagesMax} are the most`
  return undefined
}

export const PLAN_HINT =
  'announce a part of it under another acquisition: some of its time points, wells or z planes'
