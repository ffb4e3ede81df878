// State that is not what this version wrote, or any before it, and state that it cannot write.
import {
  fromBinary,
  mergeFromBinary,
  type DescMessage,
  type MessageShape,
} from '@bufbuild/protobuf'

/** A record of state.v1 that cannot be read; the message names its key. */
export class UnreadableState extends Error {}

/** An entity that cannot be written: a number in it is out of range. What was taken with it is lost. */
export class UnwritableState extends Error {
  readonly entity: string
  constructor(entity: string, cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause)
    super(`the state of ${entity} cannot be written: ${why}`, { cause })
    this.name = 'UnwritableState'
    this.entity = entity
  }
}

/** Throws UnreadableState. */
export function readEntity<D extends DescMessage>(
  schema: D,
  key: string,
  bytes: Uint8Array,
): MessageShape<D> {
  try {
    return fromBinary(schema, bytes)
  } catch (cause) {
    throw unreadable(schema, key, cause)
  }
}

/** Adds what a record beside an entity's own has to it. Throws UnreadableState. */
export function addPart<D extends DescMessage>(
  schema: D,
  key: string,
  entity: MessageShape<D>,
  bytes: Uint8Array,
): void {
  try {
    mergeFromBinary(schema, entity, bytes)
  } catch (cause) {
    throw unreadable(schema, key, cause)
  }
}

function unreadable(schema: DescMessage, key: string, cause: unknown): UnreadableState {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new UnreadableState(`"${key}" is no ${schema.typeName} (${why})`, { cause })
}
