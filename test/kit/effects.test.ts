import assert from 'node:assert/strict'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { createAnswers, openEffects } from '../../services/kit/effects.ts'
import { scratch as makeScratch } from './support.ts'

function scratch(t: TestContext): string {
  const store = makeScratch(t)
  mkdirSync(join(store, '.tmp'))
  return store
}

const key = 'ab'.repeat(16)
const type = 'wellspring.steps.echo.v1.EchoImageResponse'

test('a record is written once; the loser gets what is there', async (t) => {
  const store = scratch(t)
  const effects = openEffects(store)
  assert.equal(await effects.read(key, type), undefined)
  const answers = await Promise.all(
    [1, 2, 3, 4].map((n) => effects.write(key, type, Uint8Array.of(n))),
  )
  const winner = await openEffects(store).read(key, type)
  for (const answer of answers) assert.deepEqual([...answer], [...(winner ?? [])])
  assert.deepEqual(readdirSync(join(store, 'effects', 'ab')), [`${key}.binpb`])
  assert.deepEqual(readdirSync(join(store, '.tmp')), [])
})

test('a record of another type is never an answer', async (t) => {
  const effects = openEffects(scratch(t))
  await effects.write(key, type, Uint8Array.of(1))
  await assert.rejects(effects.read(key, 'other.Response'), /two steps share a key/)
})

test('answers in memory are bounded by number and by bytes, oldest first', () => {
  const answers = createAnswers()
  const put = (name: string, bytes: number): void =>
    answers.set(name, { entity: 'e', type, bytes: new Uint8Array(bytes) })
  for (let n = 0; n <= 2_000; n += 1) put(`k${n}`, 10)
  assert.equal(answers.get('k0'), undefined)
  assert.ok(answers.get('k1') && answers.get('k2000'))
  put('large', 16 * 1024 * 1024 - 5)
  assert.equal(answers.get('k2000'), undefined)
  assert.ok(answers.get('large'))
})
