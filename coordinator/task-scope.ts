// Whose work runs: known in everything that a task's turn sets off, so that what fails unseen is that task's trouble.
import { AsyncLocalStorage } from 'node:async_hooks'

/** The task's number. */
export const taskScope = new AsyncLocalStorage<number>()
