// A store on a disk that runs full: the step says so, nothing half-written is ever seen, and it goes on by itself.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { create } from '@bufbuild/protobuf'
import { EchoImageOnceRequestSchema, EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import {
  SegmentNucleiRequestSchema,
  SegmentNucleiService,
} from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import { fillDisk } from './full-disk.ts'
import { startSegment, text } from './segment.ts'
import { begin, contextOf, refusal, scratch, startEcho } from './support.ts'

const { segmentNuclei } = SegmentNucleiService.method
const request = create(SegmentNucleiRequestSchema, {
  context: contextOf('1'),
  nucleiImage: { uri: 'file:///x', sizeBytes: 1, sha256: 'a'.repeat(64), mediaType: 'image/tiff' },
})

test('a full disk is RETRYABLE and named, leaves nothing behind, and the attempt after it succeeds', async (t) => {
  const store = scratch(t)
  const { client } = await startSegment(t, store, async () => {})
  const disk = fillDisk(store)
  t.after(() => disk.free())
  for (const attempt of [1, 2]) {
    const refused = await refusal(begin(client, segmentNuclei, request).answer)
    assert.equal(refused.info?.reason, 'DISK_FULL')
    assert.equal(refused.info?.metadata['class'], 'RETRYABLE')
    assert.ok(refused.details.includes(store) && refused.details.includes('ENOSPC'))
    assert.deepEqual(filesBelow(store), [], 'half a file is left')
    assert.equal(disk.failures(), attempt)
  }
  disk.free()
  const { labels } = await begin(client, segmentNuclei, request).answer
  assert.equal(readFileSync(fileURLToPath(labels?.uri ?? ''), 'utf8'), text)
})

test('an effect that must not happen twice and found no room for its record is AMBIGUOUS', async (t) => {
  const store = scratch(t)
  const echo = await startEcho(t, () => assert.fail(), { WELLSPRING_STORE: store })
  const disk = fillDisk(store)
  t.after(() => disk.free())
  const once = create(EchoImageOnceRequestSchema, { context: contextOf('2') })
  const refused = await refusal(begin(echo.client, EchoService.method.echoImageOnce, once).answer)
  assert.equal(refused.info?.reason, 'DISK_FULL')
  assert.equal(refused.info?.metadata['class'], 'AMBIGUOUS')
  assert.deepEqual(filesBelow(store), [])
})

function filesBelow(directory: string): string[] {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map(({ name }) => name)
}
