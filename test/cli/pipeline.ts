// The pipeline of test/cli/records.ts as the command line loads it: levels come from the contracts.
import type { PipelineSpec } from '../../coordinator/core/pipeline/pipeline.ts'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'

const { method } = EchoService

export const pipeline: PipelineSpec = {
  name: 'test',
  version: 1,
  steps: [
    { name: 'check', method: method.echoImage, inputs: {} },
    { name: 'clean', method: method.echoImage, inputs: {} },
    { name: 'count', method: method.echoSite, inputs: {} },
    { name: 'profile', method: method.echoWell, inputs: {} },
    { name: 'judge', method: method.echoPlate, inputs: {} },
  ],
  bands: { name: 'none', version: 1, rules: [] },
}
