// What a pipeline gives to a service and reads of its answers: by that a replica's contract is judged.
import type { DescMessage } from '@bufbuild/protobuf'
import type { PipelineSpec, Source, StepSpec } from '../core/pipeline/pipeline.ts'

/** Fields that are given, by their names in the contract: whole, or in part. */
export type Sent = 'all' | ReadonlyMap<string, Sent>

export type MethodUse = {
  readonly sent: Sent
  /** Fields of the response, by their names in the contract. */
  readonly read: ReadonlySet<string>
}

/** The methods of a service that a pipeline calls, by name; several steps may call one. */
export function usesOf(
  { steps, bands }: Pick<PipelineSpec, 'steps' | 'bands'>,
  service: string,
): ReadonlyMap<string, MethodUse> {
  const uses = new Map<string, MethodUse>()
  for (const step of steps) {
    const { method, name } = step
    if (method.parent.typeName !== service) continue
    const read = new Set(
      [
        ...steps.flatMap(({ inputs }) => fieldsReadOf(name, inputs)),
        ...bands.rules.filter((rule) => rule.step === name).map((rule) => rule.metric),
      ].map((path) => nameIn(method.output, path.split('.')[0] ?? '')),
    )
    const before = uses.get(method.name)
    const sent = sentBy(step)
    uses.set(method.name, {
      sent: before ? merged(before.sent, sent) : sent,
      read: new Set([...(before?.read ?? []), ...read]),
    })
  }
  return uses
}

/** Outputs of a step that are bound, inside each() too, by localName. */
function fieldsReadOf(step: string, inputs: Readonly<Record<string, Source>>): string[] {
  return Object.values(inputs).flatMap((source) => {
    if (source.kind === 'each') return fieldsReadOf(step, source.fields)
    return source.kind === 'output' && source.step === step ? [source.field] : []
  })
}

function sentBy({ method, inputs }: StepSpec): Sent {
  return new Map([['context', 'all'], ...given(method.input, inputs)])
}

function given(target: DescMessage, inputs: Readonly<Record<string, Source>>): [string, Sent][] {
  return Object.entries(inputs).map(([localName, source]) => {
    const field = target.fields.find((one) => one.localName === localName)
    const isPart = source.kind === 'each' && field?.message
    return [field?.name ?? localName, isPart ? new Map(given(field.message, source.fields)) : 'all']
  })
}

function merged(a: Sent, b: Sent): Sent {
  if (a === 'all' || b === 'all') return 'all'
  const both = new Map(a)
  for (const [name, sent] of b) {
    const before = both.get(name)
    both.set(name, before ? merged(before, sent) : sent)
  }
  return both
}

function nameIn(message: DescMessage, localName: string): string {
  return message.fields.find((one) => one.localName === localName)?.name ?? localName
}
