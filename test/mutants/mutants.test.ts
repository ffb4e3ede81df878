// The list of mutations must not rot: npm run mutants applies them, this only sees that it can.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { mutated } from './apply.ts'
import { mutants } from './list.ts'

const root = join(import.meta.dirname, '../..')

test('every mutation of the list can be applied, and its tests exist', () => {
  for (const { name, edits, tests } of mutants) {
    mutated(root, edits)
    assert.ok(tests.length > 0, name)
    for (const { file } of tests) assert.ok(existsSync(join(root, file)), `${name}: ${file}`)
  }
  assert.equal(new Set(mutants.map(({ name }) => name)).size, mutants.length)
})

test('a text that is gone, or stands twice, is an error', () => {
  const file = 'package.json'
  assert.throws(() => mutated(root, [{ file, find: 'no such text', replace: '' }]), /0 times/)
  assert.throws(() => mutated(root, [{ file, find: '"', replace: '' }]), /\d+ times/)
})
