import assert from 'node:assert/strict'
import { test } from 'node:test'
import { distanceToBackground, splitAtNecks } from '../../../services/legacy/nucseg/split.ts'
import { otsu } from '../../../services/legacy/nucseg/threshold.ts'

const rule = { neckShareMax: 0.9, neckDepthMinPx: 0.5 }

function mask(
  size: { widthPx: number; heightPx: number },
  inside: (x: number, y: number) => boolean,
) {
  return Uint8Array.from({ length: size.widthPx * size.heightPx }, (_, at) =>
    inside(at % size.widthPx, Math.floor(at / size.widthPx)) ? 1 : 0,
  )
}

const disc = (x: number, y: number, centreX: number, radius: number) =>
  (x - centreX) ** 2 + (y - 20) ** 2 <= radius ** 2

test('the distance is the one to the nearest background pixel, by trying them all', () => {
  const size = { widthPx: 23, heightPx: 17 }
  const pixels = mask(size, (x, y) => (x * 7 + y * 5) % 11 > 1 && x > 0)
  const distance = distanceToBackground(pixels, size)
  pixels.forEach((inside, at) => {
    let nearest = Infinity
    pixels.forEach((other, to) => {
      if (other === 1) return
      const dx = (at % 23) - (to % 23)
      nearest = Math.min(nearest, Math.hypot(dx, Math.floor(at / 23) - Math.floor(to / 23)))
    })
    assert.ok(Math.abs((distance[at] ?? NaN) - (inside === 1 ? nearest : 0)) < 1e-5)
  })
})

test('a mask without background is all far away', () => {
  const size = { widthPx: 4, heightPx: 3 }
  const distance = distanceToBackground(new Uint8Array(12).fill(1), size)
  assert.ok(distance.every((value) => value >= 4))
  assert.equal(splitAtNecks(new Uint8Array(12).fill(1), size, rule).count, 1)
})

test('two discs that touch are two, one long ellipse is one', () => {
  const size = { widthPx: 80, heightPx: 40 }
  const discs = splitAtNecks(
    mask(size, (x, y) => disc(x, y, 20, 12) || disc(x, y, 40, 12)),
    size,
    rule,
  )
  assert.equal(discs.count, 2)
  assert.notEqual(discs.labels[20 * 80 + 20], discs.labels[20 * 80 + 40])
  const ellipse = mask(size, (x, y) => ((x - 40) / 30) ** 2 + ((y - 20) / 10) ** 2 <= 1)
  assert.equal(splitAtNecks(ellipse, size, rule).count, 1)
})

test('objects on two sides of the image do not touch around its edge', () => {
  const size = { widthPx: 10, heightPx: 6 }
  const { count } = splitAtNecks(
    mask(size, (x) => x === 0 || x === 9),
    size,
    rule,
  )
  assert.equal(count, 2)
})

test('Otsu’s threshold lies between two groups', () => {
  const level = otsu(Float32Array.from([1, 1.2, 1.1, 0.9, 7, 7.2, 6.9]))
  assert.ok(level > 1.2 && level < 6.9, `${level}`)
  assert.equal(otsu(Float32Array.from([3, 3])), 3)
})
