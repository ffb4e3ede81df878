// What goes into a world, and what became of it.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { entityKey, partitionKey } from '@wellspring/lab/entity.ts'
import { hex, sha256 } from '../../coordinator/core/keys.ts'
import { taskOf } from '@wellspring/kafka/partition.ts'
import type { MemoryBroker } from '../../coordinator/log/memory.ts'
import { ChannelKind, IdentitySchema } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import { DeadLetterSchema } from '#proto/wellspring/record/v1/output_pb.ts'

/** Inputs that came to an end: a result, a dead letter, or lost and counted. */
export function ended(broker: MemoryBroker): number {
  const letters = broker.committed('dead-letters.v1').map(({ value }) => {
    const { loss } = fromBinary(DeadLetterSchema, value ?? Buffer.alloc(0))
    return loss ? loss.records : 1
  })
  return letters.reduce((sum, count) => sum + count, broker.committed('results.v1').length)
}

const images = new Map<string, { readonly key: string; readonly bytes: Uint8Array }>()

/** An image of a plate that belongs to the task number % tasks. */
export function image(
  number: number,
  tasks: number,
): { readonly key: string; readonly bytes: Uint8Array } {
  const known = images.get(`${number} ${tasks}`)
  if (known) return known
  for (let plate = 0; ; plate += 1) {
    const identity = create(IdentitySchema, {
      experiment: 'E',
      plate: `P${number}-${plate}`,
      acquisition: 'a',
      well: 'A01',
      timePoint: 0,
      site: 1,
      z: 0,
      channel: 'DNA',
    })
    const key = partitionKey(entityKey(identity))
    if (taskOf(key, tasks) !== number % tasks) continue
    const sha = hex(sha256(Buffer.from(`image ${number}`)))
    const artifact = { uri: 'file:///image', sizeBytes: 1, sha256: sha }
    const channel = { name: 'DNA', kind: ChannelKind.NUCLEI }
    const message = create(ImageAcquiredSchema, { identity, channel, artifact })
    const made = { key, bytes: toBinary(ImageAcquiredSchema, message) }
    images.set(`${number} ${tasks}`, made)
    return made
  }
}
