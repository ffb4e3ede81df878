// The suite of the port on the memory twin, with a group that deals tasks as Kafka's does.
import { memoryBroker } from '../../coordinator/log/memory.ts'
import type { Log } from '../../coordinator/log/port.ts'
import { deletedSuite } from './deleted.suite.ts'
import type { LogWorld } from './port.suite.ts'
import { logSuite } from './port.suite.ts'

const DELIVER_EVERY_MS = 2

logSuite('memory', (tasks) => Promise.resolve(memoryWorld(tasks)))
deletedSuite('memory', (tasks) => Promise.resolve(memoryWorld(tasks)))

function memoryWorld(tasks: number): LogWorld {
  const broker = memoryBroker(tasks)
  let owned = new Map<string, number[]>()

  /** Fair shares; a member keeps what it has up to its share. */
  function rebalance(members: readonly string[]): void {
    const share = Math.ceil(tasks / Math.max(1, members.length))
    const dealt = new Map(members.map((name) => [name, (owned.get(name) ?? []).slice(0, share)]))
    const taken = new Set([...dealt.values()].flat())
    for (let task = 0; task < tasks; task += 1) {
      if (taken.has(task)) continue
      const poorest = [...dealt].toSorted(([, a], [, b]) => a.length - b.length)[0]
      poorest?.[1].push(task)
    }
    owned = dealt
    broker.rebalance(dealt)
  }

  const beat = setInterval(() => {
    broker.heartbeat()
    for (const name of owned.keys()) while (broker.deliver(name, 100));
  }, DELIVER_EVERY_MS)

  return {
    open(instance) {
      const log = broker.open(instance, {
        monotonicMs: () => performance.now(),
        request: (_, __, work) => new Promise((resolve) => setImmediate(resolve)).then(work),
      })
      const joined: Log = {
        ...log,
        async join(listener) {
          await log.join(listener)
          setImmediate(() => rebalance([...owned.keys(), instance]))
        },
        async close() {
          await log.close()
          if (!owned.has(instance)) return
          setImmediate(() => rebalance([...owned.keys()].filter((name) => name !== instance)))
        },
      }
      return Promise.resolve(joined)
    },
    produce(topic, partition, key, value) {
      broker.stampMs = Date.now()
      broker.produce(topic, partition, key, Buffer.from(value))
      return Promise.resolve()
    },
    deleteBelow(topic, partition, offset) {
      broker.deleteBelow(topic, partition, offset)
      return Promise.resolve()
    },
    committed: (topic) => Promise.resolve(broker.committed(topic)),
    close() {
      clearInterval(beat)
      return Promise.resolve()
    },
  }
}
