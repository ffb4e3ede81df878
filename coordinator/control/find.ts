// Which entity somebody means: a file name, a URI, a trace id, or a part of an entity key. Without an index: the tasks'
// states are walked, in slices.
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import { imageName } from '../core/context.ts'
import { levelOf, parentOf } from '@wellspring/lab/entity.ts'
import { traceId } from '../core/keys.ts'
import { wellName } from '@wellspring/lab/wells.ts'
import { membersOf, traceNumberOf } from '../core/life.ts'
import type { Task } from '../core/state.ts'

/** Candidates named in an answer. */
export const CANDIDATES_MAX = 20

export type Found = {
  /** How it was read: 0 a trace id or a file, 1 whole segments of a key, 2 a well's name, 3 any part of a key. */
  readonly rank: number
  /** In order; more than CANDIDATES_MAX are cut one above it. */
  readonly keys: readonly string[]
}

/** Entities that a text means, by the best reading that finds any. Yields often: drive it with sliced(). */
export function* find(tasks: Iterable<Task>, about: string): Generator<undefined, Found> {
  const matchers = matchersOf(about)
  const found: string[][] = matchers.map(() => [])
  for (const task of tasks)
    for (const entity of entitiesOf(task)) {
      const list = found[matchers.findIndex((matches) => matches(entity))]
      if (list && list.length <= CANDIDATES_MAX) list.push(entity.key)
      yield
    }
  return bestOf(found.map((keys, rank) => ({ rank, keys })))
}

/** The found of the best rank that found anything, joined. */
export function bestOf(all: readonly Found[]): Found {
  const some = all.filter(({ keys }) => keys.length > 0)
  const rank = Math.min(...some.map((found) => found.rank))
  const keys = some.filter((found) => found.rank === rank).flatMap((found) => found.keys)
  return { rank, keys: [...new Set(keys)].toSorted() }
}

/** Plates that a text means, among these: the same readings, but for files and trace ids. */
export function findPlates(plates: Iterable<string>, about: string): readonly string[] {
  const [, ...matchers] = matchersOf(about)
  const keys = [...plates]
  if (keys.includes(about)) return [about]
  const byRank = matchers.map((matches, rank) => ({
    rank,
    keys: keys.filter((key) => matches({ key })),
  }))
  return bestOf(byRank).keys
}

type Entity = {
  readonly key: string
  /** Of an image that arrived. */
  readonly uri?: string
  /** Its task, for its trace ids. */
  readonly task?: Task
}

type Matcher = (entity: Entity) => boolean

function matchersOf(about: string): Matcher[] {
  if (/^[0-9a-f]{32}$/i.test(about)) {
    const wanted = about.toLowerCase()
    return [({ key, task }) => task !== undefined && tracesOf(task, key).includes(wanted)]
  }
  const segments = `/${about.replace(/^\/|\/$/g, '')}/`
  const well = wellName(about)
  return [
    ({ uri }) => uri !== undefined && (uri === about || uri.endsWith(`/${about}`)),
    ({ key }) => isFirstWith(key, (text) => `/${text}/`.includes(segments)),
    ({ key }) =>
      well !== undefined && isFirstWith(key, (text) => `/${text}/`.includes(`/${well}/`)),
    ({ key }) => isFirstWith(key, (text) => text.includes(about)),
  ]
}

/** True for the highest entity only whose key has it: those below have it too. */
function isFirstWith(key: string, has: (text: string) => boolean): boolean {
  return has(key) && !has(parentOf(key) ?? '')
}

/** All trace ids that an entity has had. */
function tracesOf(task: Task, key: string): string[] {
  const count = traceNumberOf(task, key) ?? 0
  return Array.from({ length: count }, (_, index) => traceId(task.application, key, index + 1))
}

/** Every entity of a task that has state or is planned, from the plates down. */
function* entitiesOf(task: Task): Generator<Entity> {
  for (const plate of plateKeys(task)) yield* below(task, plate)
}

function* below(task: Task, key: string): Generator<Entity> {
  yield { key, task }
  if (levelOf(key) !== Level.SITE) {
    for (const member of membersOf(task, key)) yield* below(task, member)
    return
  }
  const uris = new Map(
    task.sites.get(key)?.images.map((image) => [imageName(image), image.artifact?.uri ?? '']),
  )
  for (const member of membersOf(task, key)) {
    const uri = uris.get(member.slice(key.length + 1))
    yield uri === undefined ? { key: member, task } : { key: member, task, uri }
  }
}

/** Plates of a task that have state or a plan, in order. */
export function plateKeys(task: Task): string[] {
  return [...new Set([...task.plates.keys(), ...task.plans.keys()])].toSorted()
}

/** Each takes some 50 µs, and nothing else goes on meanwhile. */
const COMPARED_MAX = 500

/** The names nearest to a wrong one by edit distance, at most three. */
export function nearest(wrong: string, names: Iterable<string>): string[] {
  const most = (name: string): number => Math.max(2, name.length / 3)
  // No name is nearer than the two differ in length; and of very many names the first will do.
  const some = [...names].filter((name) => Math.abs(name.length - wrong.length) <= most(name))
  const distances = some
    .slice(0, COMPARED_MAX)
    .map((name) => ({ name, distance: editDistance(wrong, name) }))
  const near = distances.filter(({ name, distance }) => distance <= most(name))
  return near
    .toSorted((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map(({ name }) => name)
}

/** Levenshtein distance, letter case aside; bounded by cutting both texts at 128 characters. */
function editDistance(a: string, b: string): number {
  const [from, to] = [a.toLowerCase().slice(0, 128), b.toLowerCase().slice(0, 128)]
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let i = 1; i <= from.length; i++) {
    const next = [i]
    for (let j = 1; j <= to.length; j++) {
      const replace = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1)
      next.push(Math.min(replace, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[to.length] ?? 0
}
