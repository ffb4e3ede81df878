// An effect that must not happen twice.
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { image, step, type PipelineSpec } from '../../coordinator/core/pipeline/pipeline.ts'

const once = step('echo-once', EchoService.method.echoImageOnce, { image: image.artifact })

export const pipeline: PipelineSpec = {
  name: 'echo-once',
  version: 1,
  steps: [once],
  bands: { name: 'none', version: 1, rules: [] },
}
