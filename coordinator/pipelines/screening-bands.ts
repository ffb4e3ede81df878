// What counts as good in screening. Change a number here and raise the version: verdicts name it.
//
// Sources: "measured" are our measurements on 197 focused and 25 defocused U2OS fields (BBBC039, BBBC006) and on
// real channels of ImageXpress, Opera Phenix, Cell Painting and CellProfiler example sets; "cfret" is a real plate
// of 960 fields with CellProfiler's image quality table (WayScience/cellpainting_predicts_cardiac_fibrosis).
import { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { Verdict } from '#proto/wellspring/record/v1/output_pb.ts'
import type { Band, BandPolicy } from '../core/pipeline/bands.ts'

const { PASS, WARN, FAIL } = Verdict

/** A kind that is not known is judged as fluorescence is. */
const STAINS = [ChannelKind.UNSPECIFIED, ChannelKind.FLUORESCENCE] as const
const FLUORESCENCE = [...STAINS, ChannelKind.NUCLEI] as const

const band = (from: number, to: number, verdict: Verdict): Band => ({ from, to, verdict })

export const screeningBands: BandPolicy = {
  name: 'screening-bands',
  version: 2,
  rules: [
    {
      // Measured: in focus 0.00075 and up in every set, defocused 0.00017 and down. Transmitted light differs.
      id: 'in-focus',
      step: 'image-quality',
      metric: 'focus.laplacianRatio',
      channelKinds: FLUORESCENCE,
      bands: [band(0.0005, Infinity, PASS)],
      otherwise: FAIL,
    },
    {
      // Measured: good channels -4.36 … -1.25, empty fields -1.11 … -0.72; cfret DNA 99 % in -2.43 … -1.63. Only a
      // warning: inside one set the slope separates focus, across sets it does not.
      id: 'slope-nuclei',
      step: 'image-quality',
      metric: 'focus.powerLogLogSlope',
      channelKinds: [ChannelKind.NUCLEI],
      bands: [band(-4.5, -1.2, PASS)],
      otherwise: WARN,
    },
    {
      // As above; cfret actin reaches -1.02.
      id: 'slope-stain',
      step: 'image-quality',
      metric: 'focus.powerLogLogSlope',
      channelKinds: STAINS,
      bands: [band(-4.5, -1, PASS)],
      otherwise: WARN,
    },
    {
      // As above: the Opera brightfield planes are among the good channels.
      id: 'slope-brightfield',
      step: 'image-quality',
      metric: 'focus.powerLogLogSlope',
      channelKinds: [ChannelKind.BRIGHTFIELD],
      bands: [band(-4.5, -1, PASS)],
      otherwise: WARN,
    },
    {
      // Measured: good channels up to 0.0044 at the ceiling, saturated ones from 0.016.
      id: 'not-saturated',
      step: 'image-quality',
      metric: 'saturation.atCeiling',
      bands: [band(0, 0.005, PASS), band(0.005, 0.01, WARN)],
      otherwise: FAIL,
    },
    {
      // Clipped below the stated ceiling. Measured: good channels up to 0.44 %; cfret 99 % below 0.34 %.
      id: 'not-clipped',
      step: 'image-quality',
      metric: 'saturation.percentMaximal',
      bands: [band(0, 0.5, PASS)],
      otherwise: WARN,
    },
    {
      // An empty field is a result, but worth a look.
      id: 'not-empty',
      step: 'image-quality',
      metric: 'empty',
      bands: [band(0, 1, PASS)],
      otherwise: WARN,
    },
    {
      // Signed pixels stored as unsigned ones, and nobody said so: no level of them means what it says.
      id: 'offset-stated',
      step: 'image-quality',
      metric: 'offset.suspected',
      channelKinds: FLUORESCENCE,
      bands: [band(0, 1, PASS)],
      otherwise: FAIL,
    },
    {
      // Some pixels below no light are noise, most of them an offset that does not hold.
      id: 'offset-holds',
      step: 'image-quality',
      metric: 'offset.below',
      bands: [band(0, 0.01, PASS), band(0.01, 0.5, WARN)],
      otherwise: FAIL,
    },
    {
      id: 'field-has-signal',
      step: 'segment-nuclei',
      metric: 'emptyField',
      bands: [band(0, 1, PASS)],
      otherwise: WARN,
    },
    {
      id: 'well-has-all-sites',
      step: 'well-profile',
      metric: 'sitesMissing',
      bands: [band(0, 1, PASS)],
      otherwise: WARN,
    },
    {
      // Zhang 1999: above 0.5 excellent, above 0 can be screened. Robust form: a few odd wells do not decide.
      id: 'controls-separate',
      step: 'plate-quality',
      metric: 'robustZPrime',
      bands: [band(-Infinity, 0, FAIL), band(0, 0.5, WARN), band(0.5, Infinity, PASS)],
      otherwise: FAIL,
    },
    {
      id: 'plate-has-all-wells',
      step: 'plate-quality',
      metric: 'wellsMissing',
      bands: [band(0, 1, PASS)],
      otherwise: WARN,
    },
    {
      id: 'plate-has-all-sites',
      step: 'plate-quality',
      metric: 'sitesMissing',
      bands: [band(0, 1, PASS)],
      otherwise: WARN,
    },
  ],
}
