// One echo per level: fan-in from image to plate.
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
const wells = step('echo-well', echoWell, {
  members: each({ name: identity.well, digest: out(sites, 'digest') }),
})
const plates = step('echo-plate', echoPlate, {
  members: each({ name: identity.well, digest: out(wells, 'digest') }),
  holes: close.holes,
})

export const pipeline: PipelineSpec = {
  name: 'echo-levels',
  version: 1,
  steps: [images, sites, wells, plates],
  bands: { name: 'none', version: 1, rules: [] },
}
