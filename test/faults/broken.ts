// How a story goes wrong, one rule at a time.
import assert from 'node:assert/strict'
import type { Evidence } from './evidence.ts'
import type { Story, Turn } from './story.ts'

export type Broken = {
  readonly rule: string
  readonly how: string
  /** Words that the complaint must hold. */
  readonly says: RegExp
  readonly story?: (story: Story) => void
  readonly evidence?: (evidence: Evidence) => Evidence
  /** Rules that cannot but be broken with it. */
  readonly also?: readonly string[]
}

/** Turns of the good story, by number. */
export const at = { BARRIER: 3, PLAN: 1, IMAGES: 4, LETTERS: 5, SITE: 6, GROUPS: 7 } as const

export function flushAt({ turns }: Story, turn: number): Extract<Turn['what'], { kind: 'flush' }> {
  const what = turns[turn]?.what
  assert.ok(what?.kind === 'flush')
  return what
}
