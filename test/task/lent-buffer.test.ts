import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { BinaryWriter } from '@bufbuild/protobuf/wire'
import { SiteStateSchema, type SiteState } from '#proto/wellspring/journal/v1/state_pb.ts'
import { lendBuffer } from '../../coordinator/lent-buffer.ts'

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

test('a lent buffer changes no byte of any encoding, small or large, nor after one that threw', () => {
  const before = sites.map((one) => toBinary(SiteStateSchema, one))
  assert.equal(lendBuffer(), undefined)
  const bad = create(SiteStateSchema, { images: [{ z: 1 }, { z: -1 }] })
  for (let round = 0; round < 3; round += 1) {
    const after = sites.map((one) => toBinary(SiteStateSchema, one))
    assert.deepEqual(after, before)
    assert.throws(() => toBinary(SiteStateSchema, bad), /images|z/)
  }
})

test('an encoding keeps its bytes when the next one is made, and holds no more than them', () => {
  assert.equal(lendBuffer(), undefined)
  const first = toBinary(SiteStateSchema, site(3, 10))
  const copy = Buffer.from(first)
  toBinary(SiteStateSchema, site(9, 99))
  assert.ok(copy.equals(first))
  assert.equal(first.byteLength, first.buffer.byteLength)
  assert.equal(fromBinary(SiteStateSchema, first).images.length, 3)
})

test('a library that is not what is patched is left as it is, and why is said', () => {
  class Renamed extends BinaryWriter {}
  Object.defineProperty(Renamed.prototype, 'ensureCapacity', { value: undefined, writable: true })
  class Filled extends BinaryWriter {
    constructor() {
      super()
      Object.assign(this, { buffer: new Uint8Array(128) })
    }
  }
  for (const [Writer, why] of [
    [Renamed, /no ensureCapacity/],
    [Filled, /not an empty buffer/],
  ] as const) {
    const bytes = new BinaryWriter().uint32(7).finish()
    assert.match(lendBuffer(Writer) ?? '', why)
    assert.deepEqual(new BinaryWriter().uint32(7).finish(), bytes)
    assert.ok(!Object.hasOwn(Writer.prototype, 'finish'), 'nothing was patched')
  }
})
