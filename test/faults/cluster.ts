// The brokers of a run, one or three, each behind a proxy of its own; killed, stopped and started again one at a time.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createKafka } from '@wellspring/kafka/connection.ts'
import {
  clusterId,
  startBroker,
  takePort,
  type Broker,
  type ClusterNode,
} from '../../dev/broker.ts'
import { openProxy, type Loss, type Proxy } from './proxy.ts'

export type Cluster = {
  /** Past the proxies. */
  readonly brokers: readonly string[]
  /** Through them. */
  readonly proxied: readonly string[]
  /** Where the first of them keeps its segment files. */
  readonly dataDir: string
  /** All proxies as one: what is lost is one request to any broker. */
  readonly proxy: Weathers
  /** kill -9, and up again when `until` has resolved. */
  kill(which: number, until: () => Promise<unknown>): Promise<void>
  /** SIGSTOP for so long. */
  stop(which: number, forMs: number): Promise<void>
  /** Another replica of every partition becomes the preferred leader, and soon the leader. */
  moveLeaders(): Promise<void>
  /** Resolves when all run. */
  heal(): Promise<void>
  close(): Promise<void>
}

export type Weathers = Pick<Proxy, 'cut' | 'stall' | 'delay' | 'throttle' | 'heal'> & {
  lose(loss: Loss): { readonly happened: Promise<unknown>; cancel(): void }
}

type Node = {
  readonly dir: string
  readonly proxy: Proxy
  /** Of several. */
  readonly place: ClusterNode | undefined
  broker: Broker
}

export async function startCluster(dir: string, count: number): Promise<Cluster> {
  const id = clusterId()
  const controllerPorts: number[] = []
  while (controllerPorts.length < count) controllerPorts.push(await takePort(0))
  const nodes = await Promise.all(
    controllerPorts.map(async (_, at): Promise<Node> => {
      const place = count === 1 ? undefined : { id: at + 1, clusterId: id, controllerPorts }
      const own = { dir: join(dir, `broker-${at + 1}`), proxy: await openProxy(), place }
      mkdirSync(own.dir, { recursive: true })
      return { ...own, broker: await startNode(own) }
    }),
  )
  return new Nodes(nodes)
}

class Nodes implements Cluster {
  readonly brokers: readonly string[]
  readonly proxied: readonly string[]
  readonly dataDir: string
  readonly proxy: Weathers
  readonly #nodes: readonly Node[]
  /** One at a time: two of three make a majority, and the fewest replicas that a write asks for. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(nodes: readonly Node[]) {
    this.#nodes = nodes
    this.brokers = nodes.flatMap(({ broker }) => broker.brokers)
    this.proxied = nodes.map(({ proxy }) => `127.0.0.1:${proxy.port}`)
    this.dataDir = join(nodes[0]?.dir ?? '', 'data')
    this.proxy = asOne(nodes.map(({ proxy }) => proxy))
  }

  kill(which: number, until: () => Promise<unknown>): Promise<void> {
    return this.#inTurn(which, async (node) => {
      const { port } = node.broker
      await node.broker.kill()
      await until()
      node.broker = await startNode(node, port)
    })
  }

  stop(which: number, forMs: number): Promise<void> {
    return this.#inTurn(which, async ({ broker: { pid } }) => {
      process.kill(pid, 'SIGSTOP')
      await sleep(forMs)
      process.kill(pid, 'SIGCONT')
    })
  }

  async moveLeaders(): Promise<void> {
    const admin = createKafka({ brokers: this.brokers }).admin()
    await admin.connect()
    try {
      const { topics } = await admin.fetchTopicMetadata()
      await admin.alterPartitionReassignments({
        topics: topics.map(({ name, partitions }) => ({
          topic: name,
          partitionAssignment: partitions.map(
            ({ partitionId, replicas: [first = 0, ...rest] }) => ({
              partition: partitionId,
              replicas: [...rest, first],
            }),
          ),
        })),
      })
    } finally {
      await admin.disconnect()
    }
  }

  async heal(): Promise<void> {
    this.proxy.heal()
    await this.#turn
  }

  async close(): Promise<void> {
    await this.#turn.catch(() => {})
    await Promise.all(this.#nodes.map(({ broker }) => broker.kill()))
    await Promise.all(this.#nodes.map(({ proxy }) => proxy.close()))
  }

  #inTurn(which: number, work: (node: Node) => Promise<void>): Promise<void> {
    const node = this.#nodes[which % this.#nodes.length]
    const done = this.#turn.then(() => (node ? work(node) : undefined))
    this.#turn = done
    return done
  }
}

/** On the same port as before, and the proxy leading to it. */
async function startNode({ dir, proxy, place }: Omit<Node, 'broker'>, port = 0): Promise<Broker> {
  const node = place === undefined ? {} : { node: place }
  const broker = await startBroker({ dir, port, proxyPort: proxy.port, ...node })
  if (broker.proxiedPort === undefined) throw new Error('the broker has no listener for a proxy')
  proxy.connectTo({ host: '127.0.0.1', port: broker.proxiedPort })
  return broker
}

function asOne(all: readonly Proxy[]): Weathers {
  return {
    lose(loss) {
      const chosen = all.map((proxy) => proxy.lose(loss))
      const cancel = (): void => {
        for (const one of chosen) one.cancel()
      }
      const happened = Promise.race(chosen.map((one) => one.happened)).finally(cancel)
      return { happened, cancel }
    },
    cut: (client) => all.forEach((proxy) => proxy.cut(client)),
    stall: (client) => all.forEach((proxy) => proxy.stall(client)),
    delay: (ms, client) => all.forEach((proxy) => proxy.delay(ms, client)),
    throttle: (bytes, client) => all.forEach((proxy) => proxy.throttle(bytes, client)),
    heal: (client) => all.forEach((proxy) => proxy.heal(client)),
  }
}
