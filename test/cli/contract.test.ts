import assert from 'node:assert/strict'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { canonicalContract } from '../../proto/canonical.ts'
import { contractDigest } from '../../proto/digest.ts'
import { readVectors } from '../proto/images.ts'
import { wellspring } from './process.ts'

const folder = await mkdtemp(join(tmpdir(), 'wellspring-contract-'))

test('contract digest prints the digest of a service of ours, by full name or the end of it', async () => {
  for (const name of ['wellspring.steps.echo.v1.EchoService', 'EchoService']) {
    const ran = await wellspring(['contract', 'digest', name])
    assert.deepEqual(
      [ran.code, ran.stdout, ran.stderr],
      [0, `${contractDigest(EchoService)}\n`, ''],
    )
  }
  const json = await wellspring(['contract', 'digest', 'EchoService', '--canonical', '-o', 'json'])
  assert.deepEqual(JSON.parse(json.stdout), {
    service: EchoService.typeName,
    digest: contractDigest(EchoService),
    canonical: canonicalContract(EchoService),
  })
})

test('contract digest --descriptor-set reads what a compiler wrote', async () => {
  const [vector] = readVectors()
  assert.ok(vector)
  const { service, digest, descriptorSet } = vector
  const file = join(folder, 'set.binpb')
  await writeFile(file, descriptorSet)
  const ran = await wellspring(['contract', 'digest', service, '--descriptor-set', file])
  assert.deepEqual([ran.code, ran.stdout], [0, `${digest}\n`])
  const other = await wellspring(['contract', 'digest', 'lab.v1.Nobody', '--descriptor-set', file])
  assert.equal(other.code, 1)
  assert.match(other.stderr, /it has no service lab\.v1\.Nobody, it has lab\.v1\.PlainService/)
})

test('contract digest says what it cannot read, and what it knows', async () => {
  const unknown = await wellspring(['contract', 'digest', 'NobodyService'])
  assert.equal(unknown.code, 3)
  assert.match(unknown.stderr, /no service is called "NobodyService" here[^]*EchoService/)
  const absent = await wellspring([
    'contract',
    'digest',
    'X',
    '--descriptor-set',
    join(folder, 'none'),
  ])
  assert.equal(absent.code, 3)
  assert.match(absent.stderr, /cannot read .*none/)
  const file = join(folder, 'text.binpb')
  await writeFile(file, '{"not": "a set"}')
  const foreign = await wellspring(['contract', 'digest', 'X', '--descriptor-set', file])
  assert.equal(foreign.code, 1)
  assert.match(foreign.stderr, /text\.binpb: .*want a FileDescriptorSet \(protoc --include_imports/)
})
