import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { readPixels, writePng16 } from '../../../services/legacy/pixels.ts'
import { csvRows, inData, needsData } from './shared-data.ts'

test('every readable image of the real sets has the mean that PIL found', needsData, async () => {
  let checked = 0
  for (const set of readdirSync(inData(), { withFileTypes: true })) {
    if (!existsSync(inData(set.name, 'manifest.csv')) || set.name === 'plate-metadata') continue
    for (const row of csvRows(inData(set.name, 'manifest.csv'))) {
      const mode = row['mode'] ?? ''
      if (mode === '' || mode === 'RGBA') continue
      const { values } = await readPixels(inData(set.name, row['path'] ?? ''))
      let sum = 0
      for (const value of values) sum += value
      const difference = Math.abs(sum / values.length - Number(row['mean']))
      assert.ok(difference <= 0.0006, `${row['path']}: ${sum / values.length}, not ${row['mean']}`)
      checked++
    }
  }
  assert.ok(checked >= 212, `only ${checked} images were checked`)
})

test('no broken file is read', needsData, async () => {
  for (const row of csvRows(inData('broken-files', 'expected_outcomes.csv'))) {
    await assert.rejects(readPixels(inData('broken-files', row['file'] ?? '')), row['file'])
  }
})

test('a 16-bit PNG comes back value by value', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'pixels-'))
  const values = Uint16Array.from([0, 1, 255, 256, 40_000, 65_535])
  await writePng16(join(folder, 'a.png'), { values, widthPx: 3, heightPx: 2 })
  const read = await readPixels(join(folder, 'a.png'))
  assert.deepEqual([read.widthPx, read.heightPx, read.bitsPerPixel], [3, 2, 16])
  assert.deepEqual([...read.values], [...values])
  await rm(folder, { recursive: true })
})
