// One echo per level, and a file per site: outputs by reference.
import { EchoFileService } from '#proto/wellspring/steps/echo/v1/echo_file_pb.ts'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import {
  close,
  each,
  identity,
  image,
  out,
  step,
  type PipelineSpec,
} from '../../coordinator/core/pipeline/pipeline.ts'

const { echoImage, echoSite, echoWell, echoPlate } = EchoService.method
const images = step('echo-image', echoImage, { image: image.artifact })
const sites = step('echo-site', echoSite, {
  members: each({ name: identity.channel, digest: out(images, 'digest') }),
})
const files = step('echo-file', EchoFileService.method.echoFile, {
  members: each({ name: identity.channel, digest: out(images, 'digest') }),
})
const wells = step('echo-well', echoWell, {
  members: each({ name: identity.well, digest: out(sites, 'digest') }),
})
const plates = step('echo-plate', echoPlate, {
  members: each({ name: identity.well, digest: out(wells, 'digest') }),
  holes: close.holes,
})

export const pipeline: PipelineSpec = {
  name: 'echo-files',
  version: 1,
  steps: [images, sites, files, wells, plates],
  bands: { name: 'none', version: 1, rules: [] },
}
