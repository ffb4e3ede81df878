// proto/digest.py against the vectors and against TypeScript. It makes itself an environment in .wellspring, once;
// without python3, or without a package registry that it can reach, its tests are skipped, loudly.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { root, runTool, stateDir } from '../../dev/tools.ts'
import { canonicalContract } from '../../proto/canonical.ts'
import { serviceIn } from '../../proto/descriptor-set.ts'
import { readVectors } from './images.ts'

const requirements = join(import.meta.dirname, 'requirements.txt')
const environment = await pythonEnvironment()
const needs = { skip: 'why' in environment ? environment.why : false }

type Environment = { readonly python: string } | { readonly why: string }

/** A folder per state of requirements.txt, moved into place when it is whole. */
async function pythonEnvironment(): Promise<Environment> {
  const state = createHash('sha256').update(readFileSync(requirements)).digest('hex').slice(0, 12)
  const folder = join(stateDir, `python-${state}`)
  const python = join(folder, 'bin', 'python')
  if (existsSync(python)) return { python }
  await mkdir(stateDir, { recursive: true })
  const made = await mkdtemp(`${folder}-`)
  try {
    for (const [command, ...args] of [
      ['python3', '-m', 'venv', made],
      [
        join(made, 'bin/pip'),
        'install',
        '--quiet',
        '--retries=1',
        '--timeout=5',
        '--require-hashes',
        '--no-deps',
        '-r',
        requirements,
      ],
    ]) {
      const { code, output } = await runTool(command ?? '', args)
      if (code !== 0) return skipped(`${command} failed: ${output.trim().slice(-500)}`)
    }
    await rename(made, folder).catch(() => {}) // another run was first
    return { python }
  } finally {
    await rm(made, { recursive: true, force: true })
  }
}

function skipped(why: string): Environment {
  console.error(`NO PYTHON WITH PROTOBUF: the digest in Python is NOT TESTED. ${why}`)
  return { why }
}

async function digestPy(...args: readonly string[]): Promise<string> {
  assert.ok('python' in environment)
  const ran = await runTool(environment.python, [join(root, 'proto/digest.py'), ...args])
  assert.equal(ran.code, 0, ran.output)
  return ran.output.trimEnd()
}

for (const { service, digest, descriptorSet } of readVectors())
  test(
    `Python: ${service} has the digest and the text that it has in TypeScript`,
    needs,
    async (t) => {
      const folder = await mkdtemp(join(tmpdir(), 'wellspring-python-'))
      t.after(() => rm(folder, { recursive: true, force: true }))
      const file = join(folder, 'set.binpb')
      await writeFile(file, descriptorSet)
      assert.equal(await digestPy(service, file), digest)
      const text = await digestPy('--canonical', service, file)
      assert.equal(text, canonicalContract(serviceIn(descriptorSet, service)))
    },
  )

test('Python: what Describe would carry is whole, and has the digest', needs, async (t) => {
  assert.ok('python' in environment)
  const folder = await mkdtemp(join(tmpdir(), 'wellspring-python-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  for (const { service, digest, descriptorSet } of readVectors()) {
    const [from, to] = [join(folder, 'from.binpb'), join(folder, 'to.binpb')]
    await writeFile(from, descriptorSet)
    const program = [
      'import sys',
      `sys.path.insert(0, ${JSON.stringify(join(root, 'proto'))})`,
      'import digest',
      'service = digest.service_in(open(sys.argv[1], "rb").read(), sys.argv[3])',
      'open(sys.argv[2], "wb").write(digest.file_descriptor_set(service).SerializeToString())',
    ].join('\n')
    const ran = await runTool(environment.python, ['-c', program, from, to, service])
    assert.equal(ran.code, 0, ran.output)
    const described = serviceIn(readFileSync(to), service)
    assert.equal(createHash('sha256').update(canonicalContract(described)).digest('hex'), digest)
  }
})
