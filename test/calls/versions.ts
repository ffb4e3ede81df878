// Versions of one small contract (count.proto), each made by changing its text; buf builds them all at once.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root, runTool } from '../../dev/tools.ts'
import { contractOf, type Contract } from '../../proto/canonical.ts'
import { serviceIn } from '../../proto/descriptor-set.ts'

const BASE = readFileSync(join(import.meta.dirname, 'count.proto'), 'utf8')

export type Edit = readonly [find: string, replace: string]

/** The base, and it after each list of edits, in their order. Each edit's text must stand there exactly once. */
export async function versionsOf(edits: readonly (readonly Edit[])[]): Promise<Contract[]> {
  const folder = await mkdtemp(join(tmpdir(), 'wellspring-versions-'))
  try {
    const names = [[], ...edits].map((_, index) => `version${index}`)
    for (const [index, list] of [[], ...edits].entries()) {
      const text = list.reduce(edited, BASE).replaceAll('versions', `version${index}`)
      await mkdir(join(folder, `version${index}`))
      await writeFile(join(folder, `version${index}`, 'count.proto'), text)
    }
    const image = join(folder, 'image.binpb')
    for (const part of ['buf', 'google', 'wellspring'])
      await runTool('cp', ['-r', join(root, 'proto', part), join(folder, part)])
    const paths = names.flatMap((name) => ['--path', join(folder, name)])
    const made = await runTool('buf', [
      'build',
      folder,
      ...paths,
      '--exclude-source-info',
      '-o',
      image,
    ])
    assert.equal(made.code, 0, made.output)
    const bytes = await readFile(image)
    return names.map((name) => contractOf(serviceIn(bytes, `${name}.CountService`)))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function edited(text: string, [find, replace]: Edit): string {
  assert.equal(text.split(find).length, 2, `"${find}" stands there once`)
  return text.replace(find, () => replace)
}
