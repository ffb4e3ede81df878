import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { create, toBinary } from '@bufbuild/protobuf'
import { AnySchema } from '@bufbuild/protobuf/wkt'
import { createAnswers, openEffects } from '../../services/kit/effects.ts'
import { scratch as makeScratch } from './support.ts'

function scratch(t: TestContext): string {
  const store = makeScratch(t)
  mkdirSync(join(store, '.tmp'))
  return store
}

const key = 'ab'.repeat(16)
const type = 'wellspring.steps.echo.v1.EchoImageResponse'
const binding = { entity: 'E/P/a', step: 'echo', generation: 1, input: 'a'.repeat(64), type }

test('a record is written once; the loser gets what is there', async (t) => {
  const store = scratch(t)
  const effects = openEffects(store)
  assert.equal(await effects.read(key, binding), undefined)
  const answers = await Promise.all(
    [1, 2, 3, 4].map((n) => effects.write(key, binding, Uint8Array.of(n))),
  )
  const winner = await openEffects(store).read(key, binding)
  for (const answer of answers) assert.deepEqual([...answer], [...(winner ?? [])])
  assert.deepEqual(readdirSync(join(store, '.answers', 'ab')), [key])
  assert.deepEqual(readdirSync(join(store, '.tmp')), [])
})

test('a record answers only the entity, step, generation, input and type that it was made for', async (t) => {
  const store = scratch(t)
  const effects = openEffects(store)
  await effects.write(key, binding, Uint8Array.of(1))
  const foreign = [
    { ...binding, entity: 'E/Q/a' },
    { ...binding, step: 'other' },
    { ...binding, generation: 2 },
    { ...binding, input: 'b'.repeat(64) },
    { ...binding, type: 'other.Response' },
  ]
  for (const other of foreign) {
    const refused = {
      name: 'StepError',
      message: /is already that of .*EchoImageResponse of E\/P\/a/,
    }
    await assert.rejects(openEffects(store).read(key, other), refused)
    await assert.rejects(openEffects(store).write(key, other, Uint8Array.of(2)), refused)
  }
  assert.deepEqual([...((await effects.read(key, binding)) ?? [])], [1])
})

test('a record of version 0.1 answers the first who asks again, and from then on nobody else', async (t) => {
  const store = scratch(t)
  mkdirSync(join(store, 'effects', 'ab'), { recursive: true })
  const record = create(AnySchema, {
    typeUrl: `type.googleapis.com/${type}`,
    value: Uint8Array.of(7),
  })
  writeFileSync(join(store, 'effects', 'ab', `${key}.binpb`), toBinary(AnySchema, record))
  const effects = openEffects(store)
  await assert.rejects(effects.read(key, { ...binding, type: 'other.Response' }), /not other/)
  assert.deepEqual([...((await effects.read(key, binding)) ?? [])], [7])
  await assert.rejects(effects.read(key, { ...binding, entity: 'E/Q/a' }), /is already that of/)
})

test('answers in memory are bounded by number and by bytes, oldest first', () => {
  const answers = createAnswers()
  const put = (name: string, bytes: number): void =>
    answers.set(name, { binding, bytes: new Uint8Array(bytes) })
  for (let n = 0; n <= 2_000; n += 1) put(`k${n}`, 10)
  assert.equal(answers.get('k0'), undefined)
  assert.ok(answers.get('k1') && answers.get('k2000'))
  put('large', 16 * 1024 * 1024 - 5)
  assert.equal(answers.get('k2000'), undefined)
  assert.ok(answers.get('large'))
})
