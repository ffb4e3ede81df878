// State that is not what this version wrote, or any before it.
import { fromBinary, mergeFromBinary } from '@bufbuild/protobuf'
import type { DescMessage, MessageShape } from '@bufbuild/protobuf'

/** A record of state.v1 that cannot be read; the message names its key. */
export class UnreadableState extends Error {}

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
