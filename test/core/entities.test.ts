// Entities are kept as bytes, the busy ones decoded. However many wait for a flush, nobody holds one that is forgotten.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SiteStateSchema } from '#proto/wellspring/journal/v1/state_pb.ts'
import { isAdopting } from '../../coordinator/core/adopt.ts'
import { loadPipeline } from '../../coordinator/core/pipeline/check.ts'
import { entities } from '../../coordinator/core/entities.ts'
import { takeChanges } from '../../coordinator/core/state.ts'
import { pipeline as levelsSpec } from '../pipelines/echo-levels.ts'
import { PLATE, story, wellsOf } from './plate.ts'

const SITES = Array.from({ length: 40 }, (_, at) => at + 1)

test('200 sites that close between two flushes, their plan came last, are all stored as closed', () => {
  const plate = story(loadPipeline(levelsSpec), 5)
  const keys = wellsOf(5).flatMap((well) => SITES.map((site) => `${well}/t0/s${site}`))
  plate.announce(keys.flatMap((key) => ['DNA', 'RNA'].map((name) => `${key}/z0/${name}`)))
  plate.answerAll()
  takeChanges(plate.task())
  plate.plan(0.5, SITES)
  while (isAdopting(plate.task(), PLATE)) plate.fire()
  const told = plate.closes().filter(({ entity }) => entity.includes('/s'))
  assert.equal(told.length, 200)
  takeChanges(plate.task())
  const { sites } = plate.task()
  assert.deepEqual(
    told.filter(({ entity }) => sites.get(entity)?.close?.revision !== 1).map((one) => one.entity),
    [],
  )
})

test('an entity is one object as long as an event runs, however many others are read', () => {
  const sites = entities({ schema: SiteStateSchema, decodedMax: 4 })
  const names = Array.from({ length: 20 }, (_, at) => `E/P/a1/A01/t0/s${at}`)
  for (const name of names) sites.open(name)
  sites.take()
  const [first = '', ...others] = names
  sites.hold()
  const site = sites.get(first)
  for (const other of others) sites.get(other)
  assert.equal(sites.get(first), site)
  sites.release()
  for (const other of others) sites.get(other)
  assert.notEqual(sites.get(first), site, 'it is kept for ever: this shows nothing')
})
