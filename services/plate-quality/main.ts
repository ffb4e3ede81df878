// Step plate-quality: are the controls apart, and what is missing?
import { WellRole } from '#proto/wellspring/lab/v1/plan_pb.ts'
import {
  PlateQualityErrorSchema,
  PlateQualityService,
  type AssessPlateRequest,
} from '#proto/wellspring/steps/platequality/v1/plate_quality_pb.ts'
import { serve } from '../kit/serve.ts'
import { robustSsmd, robustZPrime, ssmd, variation, zPrime } from './statistics.ts'

await serve({
  name: 'plate-quality',
  version: '1.0.0',
  service: PlateQualityService,
  errors: PlateQualityErrorSchema,
  handlers: { assessPlate },
})

function assessPlate({ wells, wellsExpected, holes }: AssessPlateRequest) {
  const readouts = (role: WellRole) =>
    wells.filter((well) => well.role === role).map((well) => well.nucleiPerSite)
  const positive = readouts(WellRole.POSITIVE_CONTROL)
  const negative = readouts(WellRole.NEGATIVE_CONTROL)
  const statistics = {
    zPrime: zPrime(positive, negative),
    robustZPrime: robustZPrime(positive, negative),
    ssmd: ssmd(positive, negative),
    robustSsmd: robustSsmd(positive, negative),
    negativeControlCv: variation(negative),
    positiveControlCv: variation(positive),
  }
  return {
    ...statistics,
    positiveControls: positive.length,
    negativeControls: negative.length,
    nucleiCount: wells.reduce((sum, well) => sum + well.nucleiCount, 0),
    wellsUsed: wells.length,
    wellsMissing: Math.max(holes.length, wellsExpected - wells.length),
    sitesMissing: wells.reduce((sum, well) => sum + well.sitesMissing, 0),
    wellsWithoutNuclei: wells.filter((well) => well.nucleiCount === 0).map(({ well }) => well),
  }
}
