// State that is not what this version wrote, or any before it.
import { fromBinary } from '@bufbuild/protobuf'
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
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new UnreadableState(`"${key}" is no ${schema.typeName} (${why})`, { cause })
  }
}
