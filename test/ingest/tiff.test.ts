import assert from 'node:assert/strict'
import { mkdtemp, readdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { readTiffText } from '../../ingest/tiff.ts'
import { realSet } from './data.ts'

const folder = await mkdtemp(join(tmpdir(), 'wellspring-tiff-'))
const bbbc039 = realSet('bbbc039-u2os-nuclei')
const broken = realSet('broken-files')
const imagexpress = realSet('imagexpress-9987-3434')

/** A TIFF of one directory with one ImageDescription, in either byte order. */
function tiffWith(description: string, little: boolean): Buffer {
  const text = Buffer.from(`${description}\0`, 'latin1')
  const bytes = Buffer.alloc(8 + 2 + 12 + 4 + text.length)
  const u16 = (value: number, at: number): unknown =>
    little ? bytes.writeUInt16LE(value, at) : bytes.writeUInt16BE(value, at)
  const u32 = (value: number, at: number): unknown =>
    little ? bytes.writeUInt32LE(value, at) : bytes.writeUInt32BE(value, at)
  bytes.write(little ? 'II' : 'MM', 'latin1')
  u16(42, 2)
  u32(8, 4)
  u16(1, 8)
  u16(270, 10)
  u16(2, 12)
  u32(text.length, 14)
  u32(26, 18)
  text.copy(bytes, 26)
  return bytes
}

for (const little of [true, false])
  test(`the barcode is read from a ${little ? 'little' : 'big'}-endian file`, async () => {
    const path = join(folder, `${String(little)}.tif`)
    await writeFile(path, tiffWith('Experiment:X\r\nBarcode: BR01 \r\ntest', little))
    assert.equal((await readTiffText(path)).barcode, 'BR01')
  })

test('an empty barcode is none, and does not swallow the next line', async () => {
  const path = join(folder, 'empty-barcode.tif')
  await writeFile(path, tiffWith('Barcode:\r\ntest', true))
  assert.equal((await readTiffText(path)).barcode, undefined)
})

test('newer MetaXpress files tell the illumination in XML', imagexpress.needs, async () => {
  const path = join(imagexpress.path, 'TimePoint_1/ZStep_0/9987_B02_s1_w1.TIF')
  assert.equal((await readTiffText(path)).illumination, 'DAPI')
})

test('older MetaXpress files tell barcode and illumination', bbbc039.needs, async () => {
  const name = 'IXMtest_F22_s6_w1D6C33377-3947-4DAC-B62D-531C2565F150.tif'
  const text = await readTiffText(join(bbbc039.path, 'images', name))
  assert.equal(text.barcode, 'BR00021344')
  assert.equal(text.illumination, 'DAPI')
})

test('no damage makes the reader throw, hang or ask for memory', broken.needs, async () => {
  const names = (await readdir(broken.path)).filter((name) => name.endsWith('.tif'))
  assert.equal(names.length, 12)
  for (const name of names) {
    const text = await readTiffText(join(broken.path, name))
    assert.equal(text.barcode, undefined, name)
  }
})

test('a file that is not there rejects with its reason', async () => {
  await assert.rejects(readTiffText(join(folder, 'none.tif')), /ENOENT/)
})
