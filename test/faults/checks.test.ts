// Every judge is silent about a good run, and complains about one that breaks exactly its rule.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { at, flushAt } from './broken.ts'
import { brokenEnds } from './broken-ends.ts'
import { brokenIncoming, goodIncoming, goodLoss } from './broken-incoming.ts'
import { brokenLogs } from './broken-logs.ts'
import { brokenLooks, goodLooks } from './broken-looks.ts'
import { invariants, judgeAll } from './checks/all.ts'
import { neighbours } from './checks/neighbours.ts'
import type { Evidence } from './evidence.ts'
import { announcement, goodStory, image, plate, resultOf } from './good.ts'
import { tell } from './story.ts'

const breaks = [...brokenLogs, ...brokenEnds, ...brokenLooks, ...brokenIncoming]

function complaintsOf(evidence: Evidence): [name: string, complaints: readonly string[]][] {
  return [...judgeAll(evidence)].filter(([, complaints]) => complaints.length > 0)
}

test('every judge is silent about a good run', () => {
  assert.deepEqual(complaintsOf(tell(goodStory())), [])
  assert.deepEqual(complaintsOf(goodLooks(tell(goodStory()))), [])
  assert.deepEqual(complaintsOf(goodIncoming(tell(goodStory()))), [])
  const lossy = goodStory()
  goodLoss.story(lossy)
  assert.deepEqual(complaintsOf(goodLoss.evidence(tell(lossy))), [])
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

test('I13 complains when an image was slow, or had no end, while only its neighbour was disturbed', () => {
  const fromMs = 2_000_000
  const judged = (
    lastMs: number | undefined,
    latencyP95MsMax: number,
    disturbed: readonly string[] = [],
  ): string => {
    const story = goodStory()
    for (let n = 0; n < 20; n += 1) {
      story.inputs.push(announcement(`n${n}`, fromMs + n))
      const tookMs = n < 18 ? 100 : lastMs
      if (tookMs === undefined) continue
      const words = { at: fromMs + n + tookMs }
      flushAt(story, at.GROUPS).outputs.push(resultOf(image(`n${n}`), 'echo-image', words))
    }
    const told = tell(story)
    const spans = [{ fromMs, toMs: fromMs + 5_000, by: 'hang' }]
    const known = { disturbed: new Set(disturbed), spans, latencyP95MsMax }
    const circumstances = { ...told.circumstances, neighbours: known }
    return neighbours({ ...told, circumstances }).join()
  }
  assert.equal(judged(900, 900), '')
  assert.match(
    judged(900, 800),
    /while hang disturbed others at 2000000, 95 of 100 of 20 images took up to 900 ms; 800 are allowed/,
  )
  assert.match(judged(undefined, 800), /took up to Infinity ms/)
  assert.equal(judged(900, 800, [plate]), '', 'a plate disturbed on purpose may be slow')
  const own = [image('n18'), image('n19')]
  assert.equal(judged(900, 800, own), '', 'and so may an image whose own call hangs')
})

test('every invariant has a story that breaks it', () => {
  const broken = new Set([...breaks.map(({ rule }) => rule), 'I13'])
  assert.deepEqual(
    invariants.map(({ name }) => name).filter((name) => !broken.has(name)),
    [],
  )
})
