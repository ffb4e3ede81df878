// Every order of what can happen in a world, up to its budget of faults: depth first, each path run from the start
// again (production code cannot be copied in the middle), no further than to a state that was seen before. What a
// world without faults would do comes first, so that every state is followed to an end.
import { createHash } from 'node:crypto'
import { Judge } from './judge.ts'
import { keyOf } from './key.ts'
import { World, type Budget, type Choice, type Scenario } from './world.ts'

/** How a rule was broken. */
export type Broken = { readonly complaints: readonly string[]; readonly path: readonly string[] }

export type Explored = {
  readonly states: number
  readonly paths: number
  readonly steps: number
  readonly broken: Broken | undefined
  /** Not all was seen: the time was up. */
  readonly isCut: boolean
}

/** A choice made in a state, and how it came to that: most paths share their beginning. */
type Path = {
  readonly before: Path | undefined
  readonly state: string
  readonly choice: Choice
  readonly number: number
  readonly length: number
}

const STEPS_MAX = 400

export async function explore(scenario: Scenario, untilMs = Infinity): Promise<Explored> {
  const search = new Search(scenario)
  let paths = 0
  let broken: Broken | undefined
  while (!broken && search.todo.length > 0 && performance.now() < untilMs) {
    broken = await search.follow(search.todo.pop())
    paths += 1
  }
  const { seen, steps, todo } = search
  return { states: seen.size, paths, steps, broken, isCut: !broken && todo.length > 0 }
}

class Search {
  /** What was left to go wrong, by state. */
  readonly seen = new Map<string, Budget[]>()
  readonly todo: (Path | undefined)[] = [undefined]
  steps = 0
  readonly #scenario: Scenario

  constructor(scenario: Scenario) {
    this.#scenario = scenario
  }

  /** Goes this path and on to a state that was seen before, or to an end; notes what else could have happened. */
  async follow(start: Path | undefined): Promise<Broken | undefined> {
    const world = new World(this.#scenario)
    const judge = new Judge(world)
    await world.settle()
    const numbers = numbersOf(start)
    const names: string[] = []
    let path = start
    for (let step = 0; ; step += 1) {
      const choices = world.choices()
      // Up to here another path has been.
      const isNew = numbers[step] === undefined
      const isAtRest = isNew && (choices.length === 0 || world.isComplete())
      const complaints = [...world.complaints, ...judge.look(isAtRest)]
      if (step > STEPS_MAX) complaints.push('T6 it goes on for ever')
      const number = numbers[step] ?? 0
      if (isNew) {
        const state = createHash('sha1').update(keyOf(world)).digest('base64')
        if (isCircle(path, state))
          complaints.push('T6 it can go round in a circle without any fault')
        if (complaints.length === 0 && this.#isKnown(state, world.left)) return undefined
        for (let at = choices.length - 1; at >= 0; at -= 1) {
          const choice = choices[at]
          if (!choice) continue
          const next: Path = { before: path, state, choice, number: at, length: step + 1 }
          if (at > 0) this.todo.push(next)
          else path = next
        }
      }
      if (complaints.length > 0) return { complaints, path: names }
      const choice = choices[number]
      if (!choice) return undefined
      names.push(choice.name)
      world.take(choice)
      this.steps += 1
      await world.settle()
    }
  }

  /** Whether the state was seen with as much left to go wrong, or more. */
  #isKnown(state: string, left: Budget): boolean {
    const known = this.seen.get(state) ?? []
    if (known.some(({ faults, moves }) => faults >= left.faults && moves >= left.moves)) return true
    known.push({ ...left })
    this.seen.set(state, known)
    return false
  }
}

function numbersOf(path: Path | undefined): number[] {
  const numbers: number[] = []
  for (let at = path; at; at = at.before) numbers[at.length - 1] = at.number
  return numbers
}

/** Whether the path came by this state before and nothing went wrong since; what may change nothing is no circle. */
function isCircle(path: Path | undefined, state: string): boolean {
  let isIdle = true
  for (let at = path; at && at.choice.cost === undefined; at = at.before) {
    isIdle &&= at.choice.isIdle === true
    if (at.state === state) return !isIdle
  }
  return false
}
