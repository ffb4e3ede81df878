import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { SiteStateSchema, type SiteState } from '#proto/wellspring/journal/v1/state_pb.ts'

/** A site of so many images, each with doubles, bytes, text beyond ASCII and an output of many bytes. */
function site(images: number, outputBytes: number): SiteState {
  return create(SiteStateSchema, {
    lastArrivalMs: 1_700_000_000_000.5,
    images: Array.from({ length: images }, (_, z) => ({
      z,
      channel: { name: `DNA-${z}`, detectorCeiling: 4095 },
      artifact: {
        uri: `file:///µ/${'ü'.repeat(z % 90)}.tif`,
        sizeBytes: z,
        sha256: 'a'.repeat(64),
      },
      runs: [{ step: 1, readyMs: z / 3, output: Buffer.alloc(outputBytes, z) }],
    })),
  })
}

const sites = [0, 1, 2, 7, 40, 600].flatMap((images) =>
  [0, 127, 128, 5_000].map((bytes) => site(images, bytes)),
)

test('a lent buffer changes no byte of any encoding, small or large, nor after one that threw', async () => {
  const before = sites.map((one) => toBinary(SiteStateSchema, one))
  await import('../../coordinator/core/lent-buffer.ts')
  const bad = create(SiteStateSchema, { images: [{ z: 1 }, { z: -1 }] })
  for (let round = 0; round < 3; round += 1) {
    const after = sites.map((one) => toBinary(SiteStateSchema, one))
    assert.deepEqual(after, before)
    assert.throws(() => toBinary(SiteStateSchema, bad), /images|z/)
  }
})

test('an encoding keeps its bytes when the next one is made, and holds no more than them', async () => {
  await import('../../coordinator/core/lent-buffer.ts')
  const first = toBinary(SiteStateSchema, site(3, 10))
  const copy = Buffer.from(first)
  toBinary(SiteStateSchema, site(9, 99))
  assert.ok(copy.equals(first))
  assert.equal(first.byteLength, first.buffer.byteLength)
  assert.equal(fromBinary(SiteStateSchema, first).images.length, 3)
})
