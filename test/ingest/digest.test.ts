import assert from 'node:assert/strict'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { artifactOf, mapOrdered } from '../../ingest/digest.ts'

test('an artifact has the size and digest of the bytes, and a URI that leads back to them', async () => {
  const path = join(await mkdtemp(join(tmpdir(), 'wellspring-digest-')), 'a b#1 µ.TIF')
  await writeFile(path, 'abc')
  const artifact = await artifactOf(path)
  // NIST FIPS 180-2, appendix B.1.
  assert.equal(artifact.sha256, 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
  assert.deepEqual([artifact.sizeBytes, artifact.mediaType], [3, 'image/tiff'])
  assert.equal(fileURLToPath(artifact.uri), path)
})

test('an empty file is an artifact too', async () => {
  const path = join(await mkdtemp(join(tmpdir(), 'wellspring-digest-')), 'empty.png')
  await writeFile(path, '')
  const { sizeBytes, mediaType } = await artifactOf(path)
  assert.deepEqual([sizeBytes, mediaType], [0, 'image/png'])
})

const types: readonly [string, string, string][] = [
  ['a.png', 'II*\0', 'image/tiff'],
  ['a.png', 'MM\0*', 'image/tiff'],
  ['a.dat', 'MM\0+', 'image/tiff'],
  ['a.tif', '\x89PNG\r\n', 'image/png'],
  ['a.TIFF', '<html>', 'image/tiff'],
  ['a.dat', '<html>', 'application/octet-stream'],
]
for (const [name, content, mediaType] of types)
  test(`${JSON.stringify(content)} called ${name} is ${mediaType}`, async () => {
    const path = join(await mkdtemp(join(tmpdir(), 'wellspring-digest-')), name)
    await writeFile(path, content, 'latin1')
    assert.equal((await artifactOf(path)).mediaType, mediaType)
  })

test('results keep the order of the items, and no more than asked are under way', async () => {
  let underWay = 0
  let most = 0
  const gates = Array.from({ length: 6 }, () => Promise.withResolvers<void>())
  const run = async (at: number): Promise<number> => {
    underWay += 1
    most = Math.max(most, underWay)
    await gates[at]?.promise
    underWay -= 1
    return at
  }
  const got: number[] = []
  // The second of each pair ends first.
  for (const at of [1, 0, 3, 2, 5, 4]) gates[at]?.resolve()
  for await (const at of mapOrdered([0, 1, 2, 3, 4, 5], 2, run)) got.push(at)
  assert.deepEqual(got, [0, 1, 2, 3, 4, 5])
  assert.equal(most, 2)
})

test('a failure comes when its turn comes', async () => {
  const got: number[] = []
  const read = async (): Promise<void> => {
    for await (const at of mapOrdered([0, 1, 2], 3, async (item) => {
      if (item === 1) throw new Error('one')
      return item
    }))
      got.push(at)
  }
  await assert.rejects(read(), /one/)
  assert.deepEqual(got, [0])
})
