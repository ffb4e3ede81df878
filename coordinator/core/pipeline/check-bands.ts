// Checks a band policy against the responses that it judges.
import { getOption, ScalarType, type DescField, type DescMessage } from '@bufbuild/protobuf'
import { field as fieldOption, Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { Verdict } from '#proto/wellspring/record/v1/output_pb.ts'
import type { Band, BandPolicy, BandRule } from './bands.ts'
import type { Report } from './contract.ts'

/** What bands may judge: the response of a step, and the level it works on (undefined: policy is broken). */
export type Judged = { readonly output: DescMessage; readonly level: Level | undefined }

/** A verdict has a finding for each rule of its step, with the names of both (README, Sizes). */
const limits = { nameCharsMax: 64, metricCharsMax: 128, rulesPerStepMax: 64 } as const

/** Reports every mistake of a band policy. */
export function checkBands(
  policy: BandPolicy,
  steps: ReadonlyMap<string, Judged>,
  report: Report,
): void {
  const seen = new Set<string>()
  if (policy.name.length > limits.nameCharsMax)
    report(`its name has ${policy.name.length} characters; ${limits.nameCharsMax} are the most`)
  for (const [step, rules] of Map.groupBy(policy.rules, (rule) => rule.step))
    if (rules.length > limits.rulesPerStepMax)
      report(`step "${step}" has ${rules.length} rules; ${limits.rulesPerStepMax} are the most`)
  for (const rule of policy.rules) {
    const say = (mistake: string): void => report(`rule "${rule.id}": ${mistake}`)
    if (rule.id.length > limits.nameCharsMax || rule.metric.length > limits.metricCharsMax)
      say(
        `its id has at most ${limits.nameCharsMax} characters, its metric ${limits.metricCharsMax}`,
      )
    if (seen.has(rule.id)) say('a rule with this id comes before it')
    seen.add(rule.id)
    const judged = steps.get(rule.step)
    if (judged) checkRule(rule, judged, say)
    else say(`there is no step "${rule.step}"; there are ${[...steps.keys()].join(', ')}`)
  }
}

function checkRule(rule: BandRule, judged: Judged, say: Report): void {
  if (rule.channelKinds && judged.level !== undefined && judged.level !== Level.IMAGE)
    say(`channelKinds select images, but step "${rule.step}" works on a higher level`)
  if (rule.otherwise === Verdict.UNSPECIFIED) say('otherwise is UNSPECIFIED')
  checkOrder(rule.bands, say)
  const metric = metricField(judged.output, rule.metric, say)
  if (metric && getOption(metric, fieldOption).kind === 'focus.slope') checkSlope(rule, say)
}

function checkOrder(bands: readonly Band[], say: Report): void {
  if (bands.length === 0) say('has no bands')
  bands.forEach(({ from, to, verdict }, index) => {
    const previous = bands[index - 1]
    if (!(from < to)) say(`band ${from} .. ${to} is empty: from must be below to`)
    if (verdict === Verdict.UNSPECIFIED) say(`band ${from} .. ${to} has no verdict`)
    if (previous && from < previous.to)
      say(`band ${from} .. ${to} begins before band ${previous.from} .. ${previous.to} ends`)
  })
}

/** Strong blur drifts back towards the sharp range, so a bound on one side passes the worst images. */
function checkSlope({ bands, otherwise, metric }: BandRule, say: Report): void {
  for (const { from, to } of bands)
    if (!Number.isFinite(from) || !Number.isFinite(to))
      say(`band ${from} .. ${to} of the focus slope "${metric}" is one-sided: bound both sides`)
  if (otherwise === Verdict.PASS)
    say(`otherwise passes what lies outside the bands of the focus slope "${metric}"`)
}

/** The field at a path of localNames. Reports a path that leads nowhere or to no single number or bool. */
function metricField(output: DescMessage, path: string, say: Report): DescField | undefined {
  let message: DescMessage | undefined = output
  let found: DescField | undefined
  for (const name of path.split('.')) {
    if (!message) {
      say(`metric "${path}": "${found?.localName}" holds no fields`)
      return undefined
    }
    found = message.fields.find((field) => field.localName === name)
    if (!found) {
      say(`metric "${path}": ${message.typeName} has no field "${name}"; it has ${names(message)}`)
      return undefined
    }
    message = found.fieldKind === 'message' ? found.message : undefined
  }
  if (found?.fieldKind === 'scalar' && !NOT_NUMBERS.has(found.scalar)) return found
  say(`metric "${path}" is neither a number nor a bool`)
  return undefined
}

const NOT_NUMBERS: ReadonlySet<ScalarType> = new Set([
  ScalarType.STRING,
  ScalarType.BYTES,
  ScalarType.INT64,
  ScalarType.UINT64,
  ScalarType.SINT64,
  ScalarType.FIXED64,
  ScalarType.SFIXED64,
])

function names(message: DescMessage): string {
  return message.fields.map((field) => field.localName).join(', ')
}
