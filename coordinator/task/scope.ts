// Whose work runs: known in everything that a task's turn sets off, so that what fails unseen is that task's trouble.
import { AsyncLocalStorage } from 'node:async_hooks'

const scope = new AsyncLocalStorage<number>()

/** The task's number; undefined: what runs is no task's. */
export function runningTask(): number | undefined {
  return scope.getStore()
}

/** Runs work as the task's. Most turns are set off by one before, in its scope: entering it anew costs an allocation. */
export function inTask(task: number, work: () => void): void {
  if (scope.getStore() === task) work()
  else scope.run(task, work)
}
