// Screening: is every image usable, what is in every site, what does every well say, is the plate good?
import { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { ExtractFeaturesService } from '#proto/wellspring/steps/features/v1/extract_features_pb.ts'
import { ImageQualityService } from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import { SegmentNucleiService } from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import { PlateQualityService } from '#proto/wellspring/steps/platequality/v1/plate_quality_pb.ts'
import { WellProfileService } from '#proto/wellspring/steps/wellprofile/v1/well_profile_pb.ts'
import {
  channelImage,
  channelPixelOffset,
  close,
  each,
  identity,
  image,
  out,
  plan,
  step,
  type PipelineSpec,
} from '../core/pipeline/pipeline.ts'
import { screeningBands } from './screening-bands.ts'

const quality = step('image-quality', ImageQualityService.method.assessImage, {
  image: image.artifact,
  channelKind: image.channelKind,
  detectorCeiling: image.detectorCeiling,
  pixelOffset: image.pixelOffset,
})

const nuclei = step('segment-nuclei', SegmentNucleiService.method.segmentNuclei, {
  nucleiImage: channelImage(ChannelKind.NUCLEI),
  pixelOffset: channelPixelOffset(ChannelKind.NUCLEI),
})

const features = step('extract-features', ExtractFeaturesService.method.extractFeatures, {
  labels: out(nuclei, 'labels'),
  images: each(
    { channel: identity.channel, image: image.artifact, pixelOffset: image.pixelOffset },
    'reference-z',
  ),
})

const profile = step('well-profile', WellProfileService.method.profileWell, {
  sites: each({
    site: identity.site,
    nucleiCount: out(nuclei, 'nucleiCount'),
    objects: out(features, 'objects'),
  }),
  sitesExpected: close.expected,
})

const plate = step('plate-quality', PlateQualityService.method.assessPlate, {
  wells: each({
    well: identity.well,
    role: plan.wellRole,
    nucleiPerSite: out(profile, 'nucleiPerSite'),
    nucleiCount: out(profile, 'nucleiCount'),
    sitesMissing: out(profile, 'sitesMissing'),
  }),
  wellsExpected: close.expected,
  holes: close.holes,
})

export const pipeline: PipelineSpec = {
  name: 'screening',
  version: 1,
  steps: [quality, nuclei, features, profile, plate],
  bands: screeningBands,
}
