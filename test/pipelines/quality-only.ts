// Image quality and nothing else.
import { ImageQualityService } from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import { image, step, type PipelineSpec } from '../../coordinator/core/pipeline/pipeline.ts'

const quality = step('image-quality', ImageQualityService.method.assessImage, {
  image: image.artifact,
  channelKind: image.channelKind,
})

export const pipeline: PipelineSpec = {
  name: 'quality-only',
  version: 1,
  steps: [quality],
  bands: { name: 'none', version: 1, rules: [] },
}
