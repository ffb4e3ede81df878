// Band policies: versioned data that judges measurements. Services measure, bands judge.
import type { Message, MessageInitShape } from '@bufbuild/protobuf'
import type { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { Verdict, type FindingSchema } from '#proto/wellspring/record/v1/output_pb.ts'

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

export type Judgement = {
  readonly verdict: Verdict
  readonly findings: MessageInitShape<typeof FindingSchema>[]
}

/** Whether a policy has rules for a step. */
export function isJudged(bands: BandPolicy, step: string): boolean {
  return bands.rules.some((rule) => rule.step === step)
}

/**
 * Judges a step's output. Undefined: no rule names the step. NOT_EVALUATED: rules name it, none applies to this
 * channel kind, or the metrics are absent. The verdict is the worst finding.
 */
export function judge(
  bands: BandPolicy,
  step: string,
  output: Message,
  channelKind: ChannelKind | undefined,
): Judgement | undefined {
  const rules = bands.rules.filter((rule) => rule.step === step)
  if (rules.length === 0) return undefined
  const findings = rules.flatMap((rule) => {
    if (
      rule.channelKinds &&
      (channelKind === undefined || !rule.channelKinds.includes(channelKind))
    )
      return []
    const value = metricOf(output, rule.metric)
    return value === undefined ? [] : [findingOf(rule, value)]
  })
  const verdict = findings.reduce<Verdict>(
    (worst, one) => worse(worst, one.verdict),
    Verdict.NOT_EVALUATED,
  )
  return { verdict, findings }
}

function findingOf(
  rule: BandRule,
  value: number,
): { verdict: Verdict } & MessageInitShape<typeof FindingSchema> {
  const band = rule.bands.find((one) => one.from <= value && value < one.to)
  return {
    rule: rule.id,
    metric: rule.metric,
    value,
    band: band ? `${band.from} .. ${band.to}` : 'outside every band',
    verdict: band?.verdict ?? rule.otherwise,
  }
}

/** A number or truth value (0 or 1) at a path of localNames; undefined when absent. */
function metricOf(output: Message, path: string): number | undefined {
  let value: unknown = output
  for (const name of path.split('.')) {
    if (value === null || typeof value !== 'object') return undefined
    value = (value as Record<string, unknown>)[name]
  }
  if (typeof value === 'boolean') return value ? 1 : 0
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}

/** From mildest to worst. */
const SEVERITY: readonly Verdict[] = [
  Verdict.UNSPECIFIED,
  Verdict.NOT_EVALUATED,
  Verdict.PASS,
  Verdict.WARN,
  Verdict.FAIL,
]

/** The worse of two verdicts. */
export function worse(a: Verdict, b: Verdict): Verdict {
  return SEVERITY.indexOf(b) > SEVERITY.indexOf(a) ? b : a
}
