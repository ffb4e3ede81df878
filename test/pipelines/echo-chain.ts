// Three echoes in a row on every image: order, exactness and traces without any image being read.
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { image, out, step, type PipelineSpec } from '../../coordinator/core/pipeline/pipeline.ts'

const { echoImage } = EchoService.method
const first = step('echo-first', echoImage, { image: image.artifact })
const second = step('echo-second', echoImage, { previous: out(first, 'digest') })
const third = step('echo-third', echoImage, { previous: out(second, 'digest') })

export const pipeline: PipelineSpec = {
  name: 'echo-chain',
  version: 1,
  steps: [first, second, third],
  bands: { name: 'none', version: 1, rules: [] },
}
