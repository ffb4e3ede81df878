// Generates code from the contracts, and says whether the committed code is what they give.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root, runTool, type ToolResult } from './tools.ts'

/** Writes <base>/proto/gen anew. */
export function generate(base: string): Promise<ToolResult> {
  return runTool('buf', ['generate', '--template', 'proto/buf.gen.yaml', '-o', base])
}

/** Generates beside the tree and compares. Fails with the names of the files that differ. */
export async function checkGenerated(): Promise<ToolResult> {
  const beside = await mkdtemp(join(tmpdir(), 'wellspring-gen-'))
  try {
    const made = await generate(beside)
    if (made.code !== 0) return made
    const fresh = join(beside, 'proto', 'gen')
    const diff = await runTool('diff', ['-rq', fresh, join(root, 'proto', 'gen')])
    if (diff.code === 0) return diff
    const names = diff.output.replaceAll(fresh, 'fresh').replaceAll(root, '.')
    return { code: 1, output: `${names}proto/gen is not what proto/ gives: npm run gen\n` }
  } finally {
    await rm(beside, { recursive: true, force: true })
  }
}
