// Settings of a local broker: small, quick to start, alone or one of a few. Reasons beside each group.

export type Places = {
  readonly port: number
  readonly dataDir: string
  /** Of all nodes, each a broker and a controller; a node's id is its place here, from 1. */
  readonly controllerPorts: readonly number[]
  readonly nodeId: number
  /** A listener of its own for those who come through a proxy, so that others can go past it. */
  readonly proxied?: { readonly port: number; readonly advertisedPort: number } | undefined
}

/** One may go: its partitions are soon led by another, and by it again soon after it is back. */
const ofSeveral = `min.insync.replicas=2
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
leader.imbalance.check.interval.seconds=5

`

const limits = { replicasMax: 3 } as const

/** Text of server.properties. */
export function serverProperties(places: Places): string {
  const { port, dataDir, controllerPorts, nodeId, proxied } = places
  const listener = (at: number | undefined): string =>
    at === undefined ? '' : `,PROXIED://127.0.0.1:${at}`
  const voters = controllerPorts.map((at, index) => `${index + 1}@127.0.0.1:${at}`)
  const replicas = Math.min(controllerPorts.length, limits.replicasMax)
  const inSync = Math.max(1, replicas - 1)
  return `process.roles=broker,controller
node.id=${nodeId}
controller.quorum.voters=${voters.join(',')}
listeners=PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPorts[nodeId - 1]}${listener(proxied?.port)}
advertised.listeners=PLAINTEXT://127.0.0.1:${port}${listener(proxied?.advertisedPort)}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT
log.dirs=${dataDir}

# 50 partitions each by default, whose creation dominates the first use.
offsets.topic.num.partitions=1
offsets.topic.replication.factor=${replicas}
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=${replicas}
transaction.state.log.min.isr=${inSync}
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=${replicas}
share.coordinator.state.topic.min.isr=${inSync}

${controllerPorts.length > 1 ? ofSeveral : ''}# Groups form at once, and tests may use short sessions.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
group.coordinator.append.linger.ms=2
transaction.abort.timed.out.transaction.cleanup.interval.ms=500

# A misspelt topic is an error.
auto.create.topics.enable=false

# A laptop's share: two cores, 128 MB less for the cleaner.
log.cleaner.backoff.ms=1000
log.cleaner.dedupe.buffer.size=2097152
num.network.threads=1
num.io.threads=2
background.threads=2
num.recovery.threads.per.data.dir=1
controlled.shutdown.enable=false
`
}
