// The tasks of a process: which it has, by the group's word, and what they share.
import { createYieldBudget } from './yield-budget.ts'
import { newBudget } from './limits.ts'
import type { GroupListener, Positions } from '../log/port.ts'
import type { Input } from '@wellspring/kafka/records.ts'
import type { InputTopic } from '@wellspring/kafka/topic-names.ts'
import type { TaskOptions } from './options.ts'
import { TaskEngine } from './task.ts'

export type HostOptions = Omit<TaskOptions, 'task' | 'budget' | 'yieldBudget'>

export type Host = GroupListener & {
  /** Tasks that run here, in order. */
  running(): TaskEngine[]
  /** Tasks that are assigned here, whether they run or not. */
  engines(): TaskEngine[]
  engine(task: number): TaskEngine | undefined
  /** Last flush of every task, then nothing more. */
  close(): Promise<void>
}

export function host(options: HostOptions): Host {
  const engines = new Map<number, TaskEngine>()
  /** Moved away, their last flush still under way. */
  const leaving = new Map<number, TaskEngine>()
  const budget = newBudget(options.limits)
  const yieldBudget = createYieldBudget(options)
  let isClosing = false

  function drop(task: number, engine: TaskEngine): void {
    engines.delete(task)
    budget.flushedAtMs.delete(task)
    leaving.set(task, engine)
    void engine.lost().finally(() => {
      if (leaving.get(task) === engine) leaving.delete(task)
    })
  }

  return {
    assigned(tasks, kept): Positions {
      const positions = new Map<number, Readonly<Record<InputTopic, number>>>()
      if (isClosing) return positions
      for (const [task, engine] of engines) if (!tasks.includes(task)) drop(task, engine)
      for (const task of tasks) {
        const engine = engines.get(task)
        if (!engine) {
          void leaving.get(task)?.leave()?.close()
          const made = new TaskEngine({ ...options, budget, yieldBudget, task })
          engines.set(task, made)
          made.start()
        } else if (kept.has(task)) {
          // A new generation confirms the assignment as a heartbeat does.
          engine.confirmed(Infinity)
          const next = engine.next()
          if (next) positions.set(task, next)
        } else {
          // Others may have owned it meanwhile.
          engine.start()
        }
      }
      // After the starts: they take what the standby has of their tasks.
      options.standby?.owned(tasks)
      return positions
    },
    confirmed(sentAtMs) {
      for (const engine of engines.values()) engine.confirmed(sentAtMs)
    },
    records(task: number, inputs: readonly Input[]) {
      engines.get(task)?.records(inputs)
    },
    passed(task, topic, nextOffset) {
      engines.get(task)?.passed(topic, nextOffset)
    },
    outOfRange(task) {
      engines.get(task)?.outOfRange()
    },
    crashed(error) {
      options.fatal(error)
    },
    running: () =>
      [...engines.values()]
        .filter((one) => one.phase === 'running')
        .toSorted((a, b) => a.task - b.task),
    engines: () => [...engines.values()].toSorted((a, b) => a.task - b.task),
    engine: (task) => engines.get(task),
    async close() {
      isClosing = true
      await Promise.all([...engines.values()].map((engine) => engine.lost()))
      engines.clear()
    },
  }
}
