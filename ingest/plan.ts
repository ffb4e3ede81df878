// The plan of a plate: the grid that its metadata declares, or exactly the sites that its source names.
import { create } from '@bufbuild/protobuf'
import { durationFromMs } from '@bufbuild/protobuf/wkt'
import {
  CompletenessPolicySchema,
  PlannedWellSchema,
  PlatePlanSchema,
  type PlatePlan,
} from '#proto/wellspring/lab/v1/plan_pb.ts'
import { COMPLETENESS, type Completeness } from './completeness.ts'
import type { ResolvedPlate } from './resolve.ts'

/** Builds the plan. Sites, time points, z planes and wells are in ascending order. */
export function planOf(plate: ResolvedPlate, completeness: Completeness = COMPLETENESS): PlatePlan {
  const [experiment = '', barcode = '', acquisition = ''] = plate.entity.split('/')
  const { layout, promised } = plate
  const zPlanes = layout?.zPlanes ?? numbers(promised.map((image) => image.z ?? 0))
  return create(PlatePlanSchema, {
    experiment,
    plate: barcode,
    acquisition,
    ...(layout
      ? {
          wells: layout.wells.map((well) => create(PlannedWellSchema, { well })),
          sites: [...layout.sites],
        }
      : sparseWells(plate)),
    timePoints: layout
      ? [...layout.timePoints]
      : numbers(promised.map((image) => image.timePoint ?? 0)),
    zPlanes: [...zPlanes],
    referenceZ: layout?.referenceZ ?? zPlanes[Math.floor(zPlanes.length / 2)] ?? 0,
    channels: [...plate.channels],
    completeness: create(CompletenessPolicySchema, {
      quorum: completeness.quorum,
      quorumAfter: durationFromMs(completeness.quorumAfterMs),
      deadline: durationFromMs(completeness.deadlineMs),
    }),
  })
}

/** Wells name their own sites only where they differ from the plate's union. */
function sparseWells(plate: ResolvedPlate): Pick<PlatePlan, 'wells' | 'sites'> {
  const sites = numbers(plate.promised.map((image) => image.site ?? 0))
  const byWell = Map.groupBy(plate.promised, (image) => image.well ?? '')
  const wells = [...byWell]
    .sort(([a], [b]) => a.length - b.length || (a < b ? -1 : 1))
    .map(([well, images]) => {
      const own = numbers(images.map((image) => image.site ?? 0))
      return create(PlannedWellSchema, { well, sites: own.length === sites.length ? [] : own })
    })
  return { wells, sites }
}

const numbers = (values: readonly number[]): number[] => [...new Set(values)].sort((a, b) => a - b)
