// Step image-quality: wraps the lab's HTTP program, which answers numbers as text and some errors as 200.
import type { AssessImageRequest } from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import {
  ImageQualityErrorSchema,
  ImageQualityService,
} from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import type { Call } from '../kit/serve.ts'
import { serve } from '../kit/serve.ts'
import { ask } from './program.ts'

const kindNames: Readonly<Record<number, string>> = {
  [ChannelKind.UNSPECIFIED]: 'fluorescence',
  [ChannelKind.NUCLEI]: 'nuclei',
  [ChannelKind.FLUORESCENCE]: 'fluorescence',
  [ChannelKind.BRIGHTFIELD]: 'brightfield',
}

await serve({
  name: 'image-quality',
  version: '1.0.0',
  service: ImageQualityService,
  errors: ImageQualityErrorSchema,
  handlers: { assessImage },
})

async function assessImage(request: AssessImageRequest, call: Call) {
  if (request.image === undefined) throw call.fail('NOT_AN_IMAGE', 'the request names no image')
  const path = await call.openArtifact(request.image)
  const channelKind = kindNames[request.channelKind] ?? 'fluorescence'
  const answer = await ask(
    { path, channel_kind: channelKind, ceiling: request.detectorCeiling },
    call,
  )
  const number = (name: string) => {
    const value = answer[name]
    const parsed = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
    if (typeof parsed === 'number' && Number.isFinite(parsed)) return parsed
    throw call.fail('BAD_ANSWER', `"${name}" is ${JSON.stringify(value)}: want a number`)
  }
  return {
    widthPx: number('width'),
    heightPx: number('height'),
    intensity: {
      mean: number('mean'),
      median: number('median'),
      standardDeviation: number('std'),
      medianAbsoluteDeviation: number('mad'),
      minimum: number('min'),
      maximum: number('max'),
      varianceToMean: number('var_over_mean'),
    },
    saturation: { atCeiling: number('at_ceiling'), percentMaximal: number('percent_maximal') },
    focus: { laplacianRatio: number('laplacian_ratio'), powerLogLogSlope: number('power_slope') },
    empty: answer['flag'] === 'EMPTY',
    metricSet: typeof answer['version'] === 'string' ? answer['version'] : '',
  }
}
