import type { Pixels } from '../../../services/legacy/pixels.ts'

/**
 * A 16-bit image that another language can make too: noise from a linear congruential generator on a level
 * of 200, and with `discs` bright discs on a grid.
 */
export function synthetic(widthPx: number, heightPx: number, discs: boolean): Pixels {
  const values = new Uint16Array(widthPx * heightPx)
  let state = 12_345
  for (let y = 0; y < heightPx; y++) {
    for (let x = 0; x < widthPx; x++) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
      const disc = discs && ((x % 40) - 20) ** 2 + ((y % 50) - 25) ** 2 < 150 ? 3000 : 0
      values[y * widthPx + x] = 200 + ((state >> 16) % 100) + disc
    }
  }
  return { values, widthPx, heightPx, bitsPerPixel: 16 }
}
