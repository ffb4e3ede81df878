// Checks a pipeline against the contracts it uses, before anything runs. The compiler has seen most mistakes
// already; this sees those that a pipeline loaded at start can still bring, and all that types cannot say.
import { getOption, type DescField, type DescMessage } from '@bufbuild/protobuf'
import { field as validateOption } from '#proto/buf/validate/validate_pb.ts'
import { field as fieldOption, Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { checkBands, type Judged } from './check-bands.ts'
import { nameOf, policyOf, reasonsOf, type Report } from './contract.ts'
import type { Pipeline, PipelineSpec, Policy, Source, Step, StepSpec } from './pipeline.ts'
import { fieldValue, fits, sourceValue, type Value } from './value.ts'

/** Names are in the key of every result. */
const STEP_NAME = /^[a-z][a-z0-9-]{0,63}$/
/** Each has its run in the record of every entity of the level (README, Sizes). */
const STEPS_PER_LEVEL_MAX = 16
/** Key of a level's own record among its results (ids.ts). */
const RESERVED = new Set(['close'])
const CONTEXT = 'context'
const CONTEXT_TYPE = 'wellspring.step.v1.CallContext'

/** A pipeline ready to run. Throws one error that lists every mistake of the spec and of the contracts it uses. */
export function loadPipeline(spec: PipelineSpec): Pipeline {
  const mistakes: string[] = []
  const report: Report = (mistake) => mistakes.push(mistake)
  if (!STEP_NAME.test(spec.name)) report(`its name "${spec.name}" does not match ${STEP_NAME}`)
  if (!Number.isInteger(spec.version) || spec.version < 1)
    report(`its version ${spec.version} is no whole number from 1`)
  if (spec.steps.length === 0) report('it has no steps')
  const steps = checkSteps(spec.steps, report)
  for (const [level, of] of Map.groupBy(steps, ({ policy }) => policy?.level ?? 0))
    if (level !== Level.UNSPECIFIED && of.length > STEPS_PER_LEVEL_MAX)
      report(
        `it has ${of.length} steps at ${nameOf(Level, level).toLowerCase()} level; ` +
          `${STEPS_PER_LEVEL_MAX} fit into an entity's state`,
      )
  const judged = new Map<string, Judged>(
    spec.steps.map(({ name, method }, index) => [
      name,
      { output: method.output, level: steps[index]?.policy?.level },
    ]),
  )
  checkBands(spec.bands, judged, (mistake) => report(`bands ${spec.bands.name}: ${mistake}`))
  if (mistakes.length > 0)
    throw new Error(
      `pipeline "${spec.name}" version ${spec.version} cannot run:\n- ${mistakes.join('\n- ')}`,
    )
  return ready(spec, steps)
}

type Checked = { readonly spec: StepSpec; readonly policy: Policy | undefined }

function ready(spec: PipelineSpec, checked: readonly Checked[]): Pipeline {
  const steps: Step[] = checked.flatMap((step, index) =>
    step.policy ? [{ ...step.spec, index, policy: step.policy, needs: needsOf(step.spec) }] : [],
  )
  const levels = new Map(
    [Level.IMAGE, Level.SITE, Level.WELL, Level.PLATE].map((level) => [
      level as Level,
      steps.filter((step) => step.policy.level === level),
    ]),
  )
  const { name, version, bands } = spec
  const at = (level: Level): readonly Step[] => levels.get(level) ?? []
  return { name, version, label: `${name}-${version}`, steps, bands, at }
}

function needsOf({ inputs }: StepSpec): readonly string[] {
  const names = Object.values(inputs).flatMap((input) =>
    input.kind === 'output' ? [input.step] : [],
  )
  return [...new Set(names)]
}

function checkSteps(specs: readonly StepSpec[], report: Report): Checked[] {
  const before = new Map<string, Checked>()
  const later = new Set(specs.map((spec) => spec.name))
  const services = new Set<string>()
  return specs.map((spec) => {
    const say = (mistake: string): void => report(`step "${spec.name}": ${mistake}`)
    if (!STEP_NAME.test(spec.name)) say(`its name does not match ${STEP_NAME}`)
    if (RESERVED.has(spec.name)) say('its name is reserved: give it another')
    if (before.has(spec.name)) say('a step with this name comes before it')
    const method = `${spec.method.parent.typeName}.${spec.method.name}`
    const checked = { spec, policy: policyOf(spec.method, (what) => say(`${method} ${what}`)) }
    if (!services.has(spec.method.parent.typeName))
      reasonsOf(spec.method.parent, (what) => say(`${spec.method.parent.typeName}: ${what}`))
    services.add(spec.method.parent.typeName)
    checkInputs({ spec, level: checked.policy?.level, before, later, say })
    before.set(spec.name, checked)
    return checked
  })
}

/** Where bindings are checked: a step at its level, or a member inside each(), one level below. */
type Scope = {
  readonly spec: StepSpec
  /** undefined: the contract does not say, so levels are not checked. */
  readonly level: Level | undefined
  readonly before: ReadonlyMap<string, Checked>
  readonly later: ReadonlySet<string>
  readonly say: Report
  readonly member?: true
}

function checkInputs(scope: Scope): void {
  const { input } = scope.spec.method
  const context = input.fields.find((field) => field.localName === CONTEXT)
  if (context?.message?.typeName !== CONTEXT_TYPE)
    scope.say(`${input.typeName} has no field ${CONTEXT} of type ${CONTEXT_TYPE}`)
  checkFields(scope, input, scope.spec.inputs)
}

function checkFields(
  scope: Scope,
  target: DescMessage,
  inputs: Readonly<Record<string, Source>>,
): void {
  const fields = target.fields.filter(({ localName }) => scope.member || localName !== CONTEXT)
  for (const [name, source] of Object.entries(inputs)) {
    const field = fields.find(({ localName }) => localName === name)
    if (field) checkBinding(scope, field, source)
    else scope.say(`${target.typeName} has no field "${name}" to bind; it has ${names(fields)}`)
  }
  for (const field of fields)
    if (isRequired(field) && !Object.hasOwn(inputs, field.localName))
      scope.say(`required field ${target.typeName}.${field.localName} is not bound`)
}

function isRequired(field: DescField): boolean {
  return getOption(field, fieldOption).required || getOption(field, validateOption).required
}

function checkBinding(scope: Scope, field: DescField, source: Source): void {
  const say = (mistake: string): void => scope.say(`${field.localName}: ${mistake}`)
  if (field.oneof) return say('it is part of a oneof, which cannot be bound')
  if (source.kind === 'each') return checkEach(scope, field, source)
  const given = valueOf({ ...scope, say }, source)
  if (!given) return undefined
  const mistake = fits(given, fieldValue(field))
  if (mistake !== undefined) say(mistake)
}

function checkEach(scope: Scope, field: DescField, source: Source & { kind: 'each' }): void {
  const say = (mistake: string): void => scope.say(`${field.localName}: ${mistake}`)
  if (scope.member) return say('each() inside each() has no meaning')
  if (field.fieldKind !== 'list' || field.listKind !== 'message')
    return say(`each() gives a list of messages, the field is ${fieldValue(field).shape}`)
  const { level } = scope
  if (level === Level.IMAGE) return say('each() in an image step: an image has no members')
  if (source.at === 'reference-z' && level !== undefined && level !== Level.SITE)
    return say(`each(…, 'reference-z') selects images, so only a site step can use it`)
  const below = level === undefined ? undefined : BELOW[level]
  checkFields({ ...scope, level: below, say, member: true }, field.message, source.fields)
}

const BELOW: Readonly<Record<number, Level>> = {
  [Level.PLATE]: Level.WELL,
  [Level.WELL]: Level.SITE,
  [Level.SITE]: Level.IMAGE,
}

/** What a source gives; undefined, with the mistake reported, if it cannot give anything here. */
function valueOf(scope: Scope, source: Exclude<Source, { kind: 'each' }>): Value | undefined {
  if (source.kind === 'output') return outputValue(scope, source)
  const levels = levelsOf(source, scope.member === true)
  if (scope.level !== undefined && !levels.includes(scope.level)) {
    const place = scope.member ? `inside each() of a ${above(scope.level)} step` : 'in a step'
    const level = nameOf(Level, scope.level).toLowerCase()
    scope.say(`${describe(source)} has no meaning ${place} at ${level} level`)
    return undefined
  }
  const value = sourceValue(source)
  if (!value) scope.say(`${describe(source)} is no source`)
  return value
}

function levelsOf(source: Exclude<Source, { kind: 'each' | 'output' }>, member: boolean): Level[] {
  const { IMAGE, SITE, WELL, PLATE } = Level
  switch (source.kind) {
    case 'image':
      return [IMAGE]
    case 'channel-image':
      return member ? [] : [SITE]
    case 'identity':
      if (source.field === 'z' || source.field === 'channel') return [IMAGE]
      return source.field === 'site' ? [IMAGE, SITE] : [IMAGE, SITE, WELL]
    case 'plan':
      return [IMAGE, SITE, WELL]
    case 'close':
      return member ? [] : [SITE, WELL, PLATE]
    case 'constant':
      return [IMAGE, SITE, WELL, PLATE]
  }
}

function above(level: Level): string {
  const name = [Level.SITE, Level.WELL, Level.PLATE].find((upper) => BELOW[upper] === level)
  return nameOf(Level, name ?? level).toLowerCase()
}

function describe(source: Source): string {
  return 'field' in source ? `${source.kind}.${source.field}` : source.kind
}

function outputValue(scope: Scope, source: Source & { kind: 'output' }): Value | undefined {
  const from = scope.before.get(source.step)
  if (!from) {
    const known = [...scope.before.keys()].join(', ') || 'none'
    const why = scope.later.has(source.step) ? 'does not come before it' : 'does not exist'
    scope.say(`out(): step "${source.step}" ${why}; steps before it: ${known}`)
    return undefined
  }
  const level = from.policy?.level
  if (level !== undefined && scope.level !== undefined && level !== scope.level) {
    const wanted = nameOf(Level, scope.level).toLowerCase()
    const has = nameOf(Level, level).toLowerCase()
    const where = scope.member ? 'each() here is over members at' : 'this step works at'
    scope.say(`out(): step "${source.step}" works at ${has} level, ${where} ${wanted} level`)
    return undefined
  }
  const { output } = from.spec.method
  const field = output.fields.find(({ localName }) => localName === source.field)
  if (!field || field.oneof) {
    const plain = output.fields.filter(({ oneof }) => !oneof)
    scope.say(`${output.typeName} has no field "${source.field}"; it has ${names(plain)}`)
    return undefined
  }
  return fieldValue(field)
}

function names(fields: readonly DescField[]): string {
  return fields.map((field) => field.localName).join(', ') || 'none'
}
