// Files that were well once, with bytes changed, cut and put elsewhere: whatever comes of them is a look, within its
// budget. The seed is printed; WELLSPRING_FUZZ_SEED repeats it, WELLSPRING_FUZZ_FILES looks further.
import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { diceOf, type Dice } from '../../dev/dice.ts'
import { blocksOf } from '../../formats/complete.ts'
import { lookInto } from '../../formats/look.ts'
import { Exhausted, Source, lookLimits } from '../../formats/source.ts'
import { findPage } from '../../formats/tiff-pages.ts'
import { Damaged, readHeader } from '../../formats/tiff.ts'
import { tiffTextIn } from '../../ingest/tiff.ts'
import { readKinds, refusedKinds } from './kinds.ts'

const files = Number(process.env['WELLSPRING_FUZZ_FILES'] ?? 20_000)
const seed = process.env['WELLSPRING_FUZZ_SEED'] ?? String(randomInt(2 ** 31))
const corpus = [...readKinds, ...refusedKinds].map(({ file }) => file)
const kinds = ['grey-image', 'unsupported', 'beyond-limits', 'truncated', 'corrupt', 'no-image']

function sourceOf(file: Buffer): Source {
  const readable = {
    read: async (buffer: Buffer, offset: number, length: number, position: number) => ({
      bytesRead: file.copy(buffer, offset, position, Math.min(position + length, file.length)),
      buffer,
    }),
  }
  const { signal } = new AbortController()
  return new Source(readable, file.length, { limits: lookLimits, signal })
}

/** Changes bytes, most of them where directories are: near the beginning and the end. */
function mutated(file: Buffer, dice: Dice): Buffer {
  const bytes = Buffer.from(file)
  const place = (): number => {
    const near = Math.min(bytes.length, 400)
    const at = dice.below(near)
    return dice.next() < 0.5 ? at : bytes.length - 1 - at
  }
  const odd = [0, 1, 2, 0x7f, 0x80, 0xff]
  for (let changes = 1 + dice.below(6); changes > 0; changes--) {
    const at = place()
    if (dice.next() < 0.6)
      bytes[at] = dice.next() < 0.5 ? (odd[dice.below(6)] ?? 0) : dice.below(256)
    else if (dice.next() < 0.5)
      bytes.fill(dice.next() < 0.5 ? 0xff : 0, at, Math.min(at + 1 + dice.below(8), bytes.length))
    else bytes.copy(bytes, at, dice.below(bytes.length), at + 1 + dice.below(40))
  }
  return dice.next() < 0.15 ? bytes.subarray(0, dice.below(bytes.length)) : bytes
}

async function everythingLooksAt(file: Buffer): Promise<void> {
  const source = sourceOf(file)
  const look = await lookInto(source)
  assert.ok(kinds.includes(look.kind))
  assert.ok(source.bytesRead <= lookLimits.bytesMax + 4_096)
  await tiffTextIn(sourceOf(file))
  if (look.kind !== 'grey-image' || look.image.format === 'PNG') return
  const again = sourceOf(file)
  const header = await readHeader(again)
  assert.ok(header)
  const pages = await findPage(again, header)
  assert.equal(pages.kind, 'one')
  if (pages.kind !== 'one') return
  await blocksOf(again, header, pages.page.directory).catch((error: unknown) => {
    if (!(error instanceof Damaged || error instanceof Exhausted)) throw error
  })
}

test(`${files} mutated files: no look throws, hangs or goes beyond its budget, seed ${seed}`, async () => {
  const dice = diceOf(seed)
  for (let i = 0; i < files; i++) {
    const file = mutated(corpus[dice.below(corpus.length)] ?? Buffer.alloc(0), dice)
    const before = process.cpuUsage()
    await everythingLooksAt(file).catch((error: unknown) => {
      throw new Error(`file ${i} of seed ${seed}`, { cause: error })
    })
    const { user, system } = process.cpuUsage(before)
    assert.ok(user + system < 1_000_000, `file ${i} of seed ${seed} took ${user + system} µs`)
  }
})
