import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { pipeline as screening } from '../../coordinator/pipelines/screening.ts'
import { pipeline as chain } from './echo-chain.ts'
import { pipeline as levels } from './echo-levels.ts'
import { pipeline as once } from './echo-once.ts'

const names = (steps: readonly { readonly name: string }[]): string[] =>
  steps.map(({ name }) => name)

test('the screening pipeline passes its check', () => {
  const loaded = loadPipeline(screening)
  assert.equal(loaded.label, 'screening-1')
  assert.deepEqual(names(loaded.at(Level.IMAGE)), ['image-quality'])
  assert.deepEqual(names(loaded.at(Level.SITE)), ['segment-nuclei', 'extract-features'])
  assert.deepEqual(names(loaded.at(Level.WELL)), ['well-profile'])
  assert.deepEqual(names(loaded.at(Level.PLATE)), ['plate-quality'])
  assert.deepEqual(loaded.steps[2]?.needs, ['segment-nuclei'])
})

test('the echo pipelines pass their check', () => {
  assert.deepEqual(
    loadPipeline(chain).steps.map(({ needs }) => needs),
    [[], ['echo-first'], ['echo-second']],
  )
  assert.equal(loadPipeline(levels).at(Level.PLATE).length, 1)
  assert.equal(loadPipeline(once).steps.length, 1)
})
