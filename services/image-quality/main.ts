// Step image-quality: wraps the lab's HTTP program, which answers numbers as text and some errors as 200.
import {
  ImageQualityErrorSchema,
  ImageQualityService,
  type AssessImageRequest,
} from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { openImage } from '../kit/images.ts'
import { serve, type Call } from '../kit/serve.ts'
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
  const path = await openImage(request.image, call, { corrupt: 'CORRUPT' })
  const channelKind = kindNames[request.channelKind] ?? 'fluorescence'
  const answer = await ask(
    {
      path,
      channel_kind: channelKind,
      ceiling: request.detectorCeiling,
      ...(request.pixelOffset > 0 && { offset: request.pixelOffset }),
    },
    call,
  )
  const number = (name: string) => {
    const value = answer[name]
    const parsed = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
    if (typeof parsed === 'number' && Number.isFinite(parsed)) return parsed
    throw call.fail('BAD_ANSWER', `"${name}" is ${JSON.stringify(value)}: want a number`)
  }
  const { pixelOffset } = request
  if (pixelOffset > 0 && Number(answer['offset']) !== pixelOffset)
    throw call.fail('BAD_ANSWER', `the program did not subtract the pixel offset ${pixelOffset}`)
  const offset = {
    suspected: answer['offset_suspected'] === true,
    below: answer['below_offset'] === undefined ? 0 : number('below_offset'),
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
    // Left out where there is nothing to say: an answer is kept for every image.
    ...((offset.suspected || offset.below > 0) && { offset }),
    metricSet: typeof answer['version'] === 'string' ? answer['version'] : '',
  }
}
