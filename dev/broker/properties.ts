// Settings of the local broker: one node, small, quick to start. Reasons beside each group.

export type Places = {
  readonly port: number
  readonly controllerPort: number
  readonly dataDir: string
  /** A listener of its own for those who come through a proxy, so that others can go past it. */
  readonly proxied?: { readonly port: number; readonly advertisedPort: number } | undefined
}

/** Text of server.properties. */
export function serverProperties({ port, controllerPort, dataDir, proxied }: Places): string {
  const listener = (at: number | undefined): string =>
    at === undefined ? '' : `,PROXIED://127.0.0.1:${at}`
  return `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:${controllerPort}
listeners=PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}${listener(proxied?.port)}
advertised.listeners=PLAINTEXT://127.0.0.1:${port}${listener(proxied?.advertisedPort)}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT
log.dirs=${dataDir}

# 50 partitions each by default, whose creation dominates the first use.
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1

# Groups form at once, and tests may use short sessions.
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
