// Every judge is silent about a good run, and complains about one that breaks exactly its rule.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { at, flushAt } from './broken.ts'
import { brokenEnds } from './broken-ends.ts'
import { brokenLogs } from './broken-logs.ts'
import { invariants, judgeAll } from './checks/all.ts'
import { neighbours } from './checks/neighbours.ts'
import type { Evidence } from './evidence.ts'
import { announcement, goodStory, image, plate, resultOf } from './good.ts'
import { tell } from './story.ts'

const breaks = [...brokenLogs, ...brokenEnds]

function complaintsOf(evidence: Evidence): [name: string, complaints: readonly string[]][] {
  return [...judgeAll(evidence)].filter(([, complaints]) => complaints.length > 0)
}

test('every judge is silent about a good run', () => {
  assert.deepEqual(complaintsOf(tell(goodStory())), [])
})

for (const { rule, how, says, story: change, evidence: alter, also = [] } of breaks)
  test(`${rule} complains when ${how}`, () => {
    const story = goodStory()
    change?.(story)
    const told = tell(story)
    const found = new Map(complaintsOf(alter?.(told) ?? told))
    assert.match(found.get(rule)?.join('\n') ?? 'silent', says)
    const rules = invariants.map(({ name }) => name).filter((name) => found.has(name))
    const wanted = [rule, ...also]
    assert.deepEqual(
      rules.filter((name) => !wanted.includes(name)),
      [],
      [...found.values()].flat().join('\n'),
    )
  })

test('I13 complains when a plate was slow while only its neighbour was disturbed', () => {
  const story = goodStory()
  const fromMs = 2_000_000
  for (let n = 0; n < 20; n += 1) {
    story.inputs.push(announcement(`n${n}`, fromMs + n))
    const words = { at: fromMs + n + (n < 18 ? 100 : 900) }
    flushAt(story, at.GROUPS).outputs.push(resultOf(image(`n${n}`), 'echo-image', words))
  }
  const told = tell(story)
  const judged = (latencyP95MsMax: number, disturbed: string[] = []): string[] => {
    const calm = [{ fromMs, toMs: fromMs + 60_000 }]
    const known = { disturbed, calm, latencyP95MsMax }
    return neighbours({ ...told, circumstances: { ...told.circumstances, neighbours: known } })
  }
  assert.deepEqual(judged(900), [])
  assert.match(judged(800).join(), /E\/P\/a1: 95 of 100 images took up to 900 ms; 800 are allowed/)
  assert.deepEqual(judged(800, [plate]), [], 'a plate disturbed on purpose may be slow')
})

test('every invariant has a story that breaks it', () => {
  const broken = new Set([...breaks.map(({ rule }) => rule), 'I13'])
  assert.deepEqual(
    invariants.map(({ name }) => name).filter((name) => !broken.has(name)),
    [],
  )
})
