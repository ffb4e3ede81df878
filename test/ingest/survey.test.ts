import assert from 'node:assert/strict'
import { mkdir, mkdtemp, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { survey } from '../../ingest/survey.ts'

test('linked images are images, linked folders and broken links are not followed', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'wellspring-survey-'))
  const store = await mkdtemp(join(tmpdir(), 'wellspring-store-'))
  await writeFile(join(store, 'x.tif'), '')
  await mkdir(join(folder, 'TimePoint_2'))
  await symlink(join(store, 'x.tif'), join(folder, 'TimePoint_2/P_A01_s1_w1.tif'))
  await symlink(join(store, 'gone.tif'), join(folder, 'P_A01_s2_w1.tif'))
  await symlink(store, join(folder, 'store'))
  const read = await survey(folder)
  assert.deepEqual(
    read.sightings.map(({ origin, timePoint }) => [origin, timePoint]),
    [['TimePoint_2/P_A01_s1_w1.tif', 1]],
  )
  assert.deepEqual(read.refusals, [])
})
