// What an idempotency key stands for: whoever comes with the key and another entity, step, generation or input gets no
// answer that is not theirs.
import { createHash } from 'node:crypto'
import { create, fromBinary, toBinary, type DescMessage, type Message } from '@bufbuild/protobuf'
import { ArtifactSchema } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import type { CallContext } from '#proto/wellspring/step/v1/call_pb.ts'
import type { StepError } from './call.ts'
import { invalidRequest } from './errors.ts'

export type Binding = {
  readonly entity: string
  readonly step: string
  readonly generation: number
  /** SHA-256 of the request without its context and without where its artifacts lie, hex; a small one's is made when asked. */
  readonly input: string
  /** Full name of the response message. */
  readonly type: string
}

/** Requests up to this size are kept until their digest is asked for: by most keys never. */
const DIGEST_LATER_BYTES_MAX = 1_024

export function bindingOf(
  context: CallContext,
  request: { readonly desc: DescMessage; readonly message: Message; readonly bytes: Uint8Array },
  type: string,
): Binding {
  const { entity, step, generation } = context
  const { desc, message, bytes } = request
  if (bytes.length > DIGEST_LATER_BYTES_MAX)
    return { entity, step, generation, input: inputDigest(desc, message), type }
  // The bytes, since a handler may change its message; a copy, since they are a piece of a much larger buffer.
  const kept = Buffer.from(bytes)
  let input: string | undefined
  return {
    entity,
    step,
    generation,
    get input() {
      input ??= inputDigest(desc, fromBinary(desc, kept))
      return input
    },
    type,
  }
}

/** The same for the same content: a file that was moved is the same input, unknown fields are none. */
function inputDigest(desc: DescMessage, message: Message): string {
  const bare = create(desc, { ...withoutPlaces(message), context: undefined })
  return createHash('sha256')
    .update(toBinary(desc, bare, { writeUnknownFields: false }))
    .digest('hex')
}

function withoutPlaces(message: Message): Record<string, unknown> {
  const copy: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(message))
    if (name !== '$typeName' && name !== '$unknown') copy[name] = withoutPlacesIn(value)
  if (message.$typeName === ArtifactSchema.typeName) delete copy['uri']
  return copy
}

function withoutPlacesIn(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutPlacesIn)
  if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return value
  if ('$typeName' in value) return withoutPlaces(value as Message)
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, withoutPlacesIn(inner)]),
  )
}

/** Throws INVALID_REQUEST when the key is another's already. */
export function checkBinding(key: string, asked: Binding, known: Binding): void {
  const what = difference(asked, known)
  if (what !== undefined) throw taken(key, asked, known, what)
}

function difference(asked: Binding, known: Binding): string | undefined {
  if (asked.entity !== known.entity || asked.type !== known.type) return ''
  if (asked.step !== known.step) return `, as step ${known.step}`
  if (asked.generation !== known.generation) return `, of generation ${known.generation}`
  return asked.input === known.input ? undefined : ', with another input'
}

function taken(key: string, asked: Binding, known: Binding, what: string): StepError {
  return invalidRequest(
    `idempotency key ${key} of step ${asked.step} of ${asked.entity} is already that of ${known.type} of ${known.entity}${what}`,
  )
}
