// Two services that know nothing of each other, on every image.
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { ImageQualityService } from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import { image, step, type PipelineSpec } from '../../coordinator/core/pipeline/pipeline.ts'

const steady = step('steady', ImageQualityService.method.assessImage, {
  image: image.artifact,
  channelKind: image.channelKind,
})
const pressed = step('pressed', EchoService.method.echoImage, { image: image.artifact })

export const pipeline: PipelineSpec = {
  name: 'two-services',
  version: 1,
  steps: [steady, pressed],
  bands: { name: 'none', version: 1, rules: [] },
}
