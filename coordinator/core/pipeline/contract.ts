// Reads what a contract promises from its options: the policy of a step, and the reasons it may fail for.
import {
  createRegistry,
  getOption,
  hasOption,
  type DescEnum,
  type DescMethod,
  type DescService,
} from '@bufbuild/protobuf'
import {
  MethodOptions_IdempotencyLevel as Idempotency,
  type Duration,
} from '@bufbuild/protobuf/wkt'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import {
  error as errorOption,
  Level,
  PoisonAction,
  Purity,
  service as serviceOption,
  step as stepOption,
  type StepPolicy,
} from '#proto/wellspring/contract/v1/options_pb.ts'
import type { Code } from '#proto/google/rpc/code_pb.ts'
import type { Policy } from './pipeline.ts'

/** Takes one mistake, a sentence without the place it is in. */
export type Report = (mistake: string) => void

/** The policy of a step's method; undefined, with every mistake reported, if it is missing or incomplete. */
export function policyOf(method: DescMethod, report: Report): Policy | undefined {
  if (!hasOption(method, stepOption)) {
    report('has no (wellspring.contract.v1.step) option: its team must state its policy')
    return undefined
  }
  const declared = getOption(method, stepOption)
  const mistakes = [...policyMistakes(declared), ...purityMistakes(method, declared.purity)]
  for (const mistake of mistakes) report(mistake)
  if (mistakes.length > 0) return undefined
  return {
    level: declared.level,
    purity: declared.purity,
    attemptTimeoutMs: milliseconds(declared.attemptTimeout),
    totalTimeoutMs: milliseconds(declared.totalTimeout),
    attemptsMax: declared.retry?.maxAttempts ?? 0,
    backoffInitialMs: milliseconds(declared.retry?.initialBackoff),
    backoffMaxMs: milliseconds(declared.retry?.maxBackoff),
    backoffMultiplier: declared.retry?.multiplier ?? 0,
    inFlightMaxPerReplica: declared.flow?.maxInFlightPerReplica ?? 0,
    onPoison: declared.onPoison,
  }
}

function policyMistakes(policy: StepPolicy): string[] {
  const attemptMs = milliseconds(policy.attemptTimeout)
  const initialMs = milliseconds(policy.retry?.initialBackoff)
  const wrong: readonly [boolean, string][] = [
    [policy.level === Level.UNSPECIFIED, 'level'],
    [policy.purity === Purity.UNSPECIFIED, 'purity'],
    [attemptMs <= 0, 'attempt_timeout'],
    [milliseconds(policy.totalTimeout) < Math.max(attemptMs, 1), 'total_timeout'],
    [(policy.retry?.maxAttempts ?? 0) < 1, 'retry.max_attempts'],
    [initialMs <= 0, 'retry.initial_backoff'],
    [milliseconds(policy.retry?.maxBackoff) < Math.max(initialMs, 1), 'retry.max_backoff'],
    [!((policy.retry?.multiplier ?? 0) >= 1), 'retry.multiplier'],
    [(policy.flow?.maxInFlightPerReplica ?? 0) < 1, 'flow.max_in_flight_per_replica'],
    [policy.onPoison === PoisonAction.UNSPECIFIED, 'on_poison'],
  ]
  const fields = wrong.filter(([bad]) => bad).map(([, field]) => field)
  return fields.length === 0 ? [] : [`its policy is incomplete: set ${fields.join(', ')}`]
}

const IDEMPOTENCY: Readonly<Record<number, readonly Idempotency[]>> = {
  [Purity.PURE]: [Idempotency.NO_SIDE_EFFECTS, Idempotency.IDEMPOTENT],
  [Purity.IDEMPOTENT_BY_KEY]: [Idempotency.IDEMPOTENT],
  [Purity.NOT_IDEMPOTENT]: [Idempotency.IDEMPOTENCY_UNKNOWN],
}

/** purity and the standard idempotency_level say the same to two readers: they must not contradict. */
function purityMistakes(method: DescMethod, purity: Purity): string[] {
  const allowed = IDEMPOTENCY[purity]
  if (!allowed || allowed.includes(method.idempotency)) return []
  const names = allowed.map((level) => Idempotency[level]).join(' or ')
  return [
    `its idempotency_level is ${Idempotency[method.idempotency]}, but with purity ` +
      `${nameOf(Purity, purity)} it must be ${names}`,
  ]
}

/** A declared reason to fail. */
export type Reason = {
  readonly class: ErrorClass
  readonly code: Code
  readonly hint: string
}

/** The reasons a service declares, by name (enum value without its prefix). Mistakes are reported. */
export function reasonsOf(service: DescService, report: Report): ReadonlyMap<string, Reason> {
  const { owner, errorsEnum } = getOption(service, serviceOption)
  const reasons = new Map<string, Reason>()
  if (owner === '') report('its (wellspring.contract.v1.service) option names no owner')
  if (errorsEnum === '') {
    report('its (wellspring.contract.v1.service) option names no errors_enum')
    return reasons
  }
  const declared = enumOf(service, errorsEnum)
  if (!declared) report(`errors_enum ${errorsEnum} is not in its file, nor in what that imports`)
  for (const value of declared?.values ?? []) {
    if (value.number === 0) continue
    const { class: errorClass, code, hint } = getOption(value, errorOption)
    if (errorClass === ErrorClass.UNSPECIFIED)
      report(`${errorsEnum} value ${value.name} has no (wellspring.contract.v1.error) class`)
    reasons.set(value.localName, { class: errorClass, code, hint })
  }
  return reasons
}

function enumOf(service: DescService, typeName: string): DescEnum | undefined {
  return createRegistry(service.file, ...service.file.dependencies).getEnum(typeName)
}

function milliseconds(duration: Duration | undefined): number {
  return duration ? Number(duration.seconds) * 1000 + duration.nanos / 1e6 : 0
}

/** Name of an enum's value, for people. */
export function nameOf(values: Readonly<Record<string, unknown>>, value: number): string {
  return Object.keys(values).find((name) => values[name] === value) ?? String(value)
}
