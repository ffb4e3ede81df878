// Band policies: versioned data that judges measurements. Services measure, bands judge (architecture.md, rule 10).
import type { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import type { Verdict } from '#proto/wellspring/record/v1/output_pb.ts'

/** A band holds values from <= v < to; both may be infinite except on a focus slope, where both must be finite. */
export type Band = { readonly from: number; readonly to: number; readonly verdict: Verdict }

export type BandRule = {
  /** Rule id that people see, for instance "in-focus". */
  readonly id: string
  readonly step: string
  /** Field path in the step's response, localNames joined by dots, for instance "focus.laplacianRatio". */
  readonly metric: string
  /** Channel kinds that the rule applies to; undefined: all, and steps above the image. */
  readonly channelKinds?: readonly ChannelKind[]
  readonly bands: readonly Band[]
  /** Verdict of a value in no band. */
  readonly otherwise: Verdict
}

export type BandPolicy = {
  readonly name: string
  readonly version: number
  readonly rules: readonly BandRule[]
}
