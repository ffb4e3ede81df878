// Descriptor sets for the tests of the digest: committed ones, and what buf builds here and now.
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { root, runTool } from '../../dev/tools.ts'

export type Vector = {
  readonly service: string
  readonly digest: string
  /** A FileDescriptorSet as protoc wrote it. */
  readonly descriptorSet: Uint8Array
}

type Committed = {
  readonly vectors: readonly {
    readonly service: string
    readonly digest: string
    readonly descriptor_set_gzip_base64: string
  }[]
}

/** proto/digest-vectors.json */
export function readVectors(): readonly Vector[] {
  const text = readFileSync(join(root, 'proto/digest-vectors.json'), 'utf8')
  const { vectors } = JSON.parse(text) as Committed
  return vectors.map(({ service, digest, descriptor_set_gzip_base64: packed }) => ({
    service,
    digest,
    descriptorSet: gunzipSync(Buffer.from(packed, 'base64')),
  }))
}

const modules = ['proto', 'test/proto/vectors'].map((path) => ({ path }))

/** The FileDescriptorSet that buf builds of the files below a folder, with their imports. */
export async function builtByBuf(path: string, ...flags: readonly string[]): Promise<Uint8Array> {
  const folder = await mkdtemp(join(tmpdir(), 'wellspring-image-'))
  const image = join(folder, 'image.binpb')
  const config = JSON.stringify({ version: 'v2', modules })
  try {
    const made = await runTool('buf', [
      'build',
      '--config',
      config,
      '--path',
      path,
      '-o',
      image,
      ...flags,
    ])
    assert.equal(made.code, 0, made.output)
    return await readFile(image)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
