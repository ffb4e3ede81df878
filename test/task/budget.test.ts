// Calls under way in a process are bounded, and one service that hangs does not take them all.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  freeCall,
  isFull,
  limits,
  newBudget,
  takeCall,
  type Budget,
} from '../../coordinator/task/limits.ts'

const ofTen = (): Budget => newBudget({ ...limits, callsInFlightMax: 10 })

function take(budget: Budget, service: string, calls: number): void {
  for (let n = 0; n < calls; n += 1) takeCall(budget, service)
}

test('where there is one service its calls fill the budget', () => {
  const budget = ofTen()
  take(budget, 'a', 9)
  assert.equal(isFull(budget), false)
  take(budget, 'a', 1)
  assert.equal(isFull(budget), true)
})

test('calls that pile up before one service leave half of the budget to the others', () => {
  const budget = ofTen()
  take(budget, 'other', 4)
  take(budget, 'hung', 40)
  assert.equal(isFull(budget), false)
  take(budget, 'other', 1)
  assert.equal(isFull(budget), true)
})

test('however they are spread, there is an end to it', () => {
  const budget = ofTen()
  take(budget, 'other', 1)
  take(budget, 'hung', 49)
  assert.equal(isFull(budget), true)
})

test('a call that ends lets a task go on that waited, and no more than there is room for', () => {
  const budget = ofTen()
  const went: string[] = []
  const wait = (name: string): void => {
    budget.waiting.add(() => {
      went.push(name)
      takeCall(budget, 'a')
    })
  }
  take(budget, 'a', 10)
  for (const name of ['first', 'second', 'third']) wait(name)
  freeCall(budget, 'a')
  assert.deepEqual(went, ['first'])
  freeCall(budget, 'a', 2)
  assert.deepEqual(went, ['first', 'second', 'third'])
})
