// A mutation's files, changed.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Edit } from './list.ts'

/** Text by file after these edits; throws when one does not fit exactly once. */
export function mutated(root: string, edits: readonly Edit[]): ReadonlyMap<string, string> {
  const texts = new Map<string, string>()
  for (const { file, find, replace } of edits) {
    const parts = (texts.get(file) ?? readFileSync(join(root, file), 'utf8')).split(find)
    if (parts.length !== 2)
      throw new Error(
        `${file} has ${parts.length - 1} times: ${find.trim()}\nmend test/mutants/list.ts`,
      )
    texts.set(file, parts.join(replace))
  }
  return texts
}
