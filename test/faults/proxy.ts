// A TCP proxy in front of a broker that reads Kafka's frames: it loses the request or the response that was chosen,
// holds a request back until its sender is gone, cuts, stalls, delays and throttles; all of it for everybody or for
// one client id. The broker must send clients back to it: `proxyPort` of dev/broker.ts.
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { fair, lane, type Lane, type Weather } from './lane.ts'
import { inFrames, requestOf, type Api, type Request } from './frames.ts'

export type Address = { readonly host: string; readonly port: number }

export type Choice = {
  readonly api: Api
  /** A client id; those that begin with it and a dash are meant too. Default: any. */
  readonly client?: string
  /** So many pass first. */
  readonly skip?: number
}

export type Loss = Choice & {
  /** `response`: the broker has done what was asked, and nobody hears of it. `request`: it never arrives. */
  readonly lost: 'request' | 'response'
  /** The connection is cut, or stays open and nothing passes any more: its user waits for a time-out. */
  readonly connection: 'cut' | 'silent'
}

export type Chosen = {
  /** Resolves when it was lost or held; for a lost response the broker has answered by then. */
  readonly happened: Promise<Request>
  /** Lets everything pass again, if it has not happened. */
  cancel(): void
}

export type Held = Chosen & {
  /** Lets it reach the broker now; resolves when the broker has answered, which nobody hears. */
  arrive(): Promise<void>
}

export interface Proxy {
  readonly port: number
  /** Where it leads to; new connections only. */
  connectTo(upstream: Address): void
  /** Loses one request, the next that fits, or its response. */
  lose(loss: Loss): Chosen
  /** Takes the next request that fits off its connection and cuts that: it may still arrive late. */
  hold(choice: Choice): Held
  /** Changes a bit in so many responses that hold these bytes, where they are. Tells how often it has done so. */
  spoil(bytes: Buffer, times: number): () => number
  /** Closes connections, and new ones at once, until heal(). */
  cut(client?: string): void
  /** Nothing passes, nothing is closed, until heal(): a cable that is out. */
  stall(client?: string): void
  /** Every frame takes so much longer, each way. */
  delay(ms: number, client?: string): void
  /** Of each connection, each way. */
  throttle(bytesPerSecond: number, client?: string): void
  /** Everything as it was; what was stalled or delayed passes now. Losses that have not happened stay chosen. */
  heal(client?: string): void
  /** Connections that are open now, of one client id or of all. */
  connections(client?: string): number
  close(): Promise<void>
}

type Rule = Choice & {
  readonly kind: Loss['lost'] | 'held'
  readonly connection: Loss['connection']
  left: number
  readonly happened: PromiseWithResolvers<Request>
  arrive: (() => Promise<void>) | undefined
}

type Spoiler = { readonly bytes: Buffer; readonly times: number; done: number }

type Link = {
  client: string | undefined
  readonly down: Socket
  readonly up: Socket
  readonly toBroker: Lane
  readonly toClient: Lane
  /** By correlation id: requests whose response is lost. */
  readonly losing: Map<number, { readonly rule: Rule; readonly request: Request }>
  /** Nothing passes any more. */
  isSilent: boolean
  /** Its client is gone, and this request of it is held. */
  held:
    | { readonly correlationId: number; readonly answered: PromiseWithResolvers<void> }
    | undefined
}

export async function openProxy({ upstream }: { upstream?: Address } = {}): Promise<Proxy> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return proxy(server, upstream)
}

function proxy(server: Server, first: Address | undefined): Proxy {
  let upstream = first
  const links = new Set<Link>()
  const rules = new Set<Rule>()
  const spoilers = new Set<Spoiler>()
  /** By client id; '' is for all that have none of their own. */
  const weathers = new Map<string, Weather>()

  function weatherOf(client: string | undefined): Weather {
    for (const [name, weather] of weathers) if (name !== '' && isMeant(name, client)) return weather
    return weathers.get('') ?? fair
  }

  server.on('connection', (down) => {
    if (upstream === undefined || weathers.get('')?.isCut === true) {
      down.destroy()
      return
    }
    const up = connect(upstream)
    for (const socket of [down, up]) socket.setNoDelay(true).on('error', () => {})
    const link: Link = {
      client: undefined,
      down,
      up,
      toBroker: lane(
        (bytes) => up.write(bytes),
        () => weatherOf(link.client),
      ),
      toClient: lane(
        (bytes) => down.write(bytes),
        () => weatherOf(link.client),
      ),
      losing: new Map(),
      isSilent: false,
      held: undefined,
    }
    links.add(link)
    down.on(
      'data',
      inFrames((frame) => onRequest(link, frame)),
    )
    up.on(
      'data',
      inFrames((frame) => onResponse(link, frame)),
    )
    // What was sent before an end still arrives.
    down.on('close', () => {
      if (link.held === undefined) link.toBroker.end(() => up.end())
      if (up.destroyed) forget(link)
    })
    up.on('close', () => {
      link.held?.answered.reject(new Error('the connection that held a request is gone'))
      if (!link.isSilent) link.toClient.end(() => down.end())
      if (down.destroyed) forget(link)
    })
  })

  function forget(link: Link): void {
    links.delete(link)
    // The broker went before it answered: the next one that fits is lost instead.
    for (const { rule } of link.losing.values()) rules.add(rule)
    link.losing.clear()
  }

  function onRequest(link: Link, frame: Buffer): void {
    const request = requestOf(frame)
    link.client = request.client
    if (weatherOf(link.client).isCut) return cutLink(link)
    if (link.isSilent || link.held !== undefined) return
    const rule = [...rules].find(
      (one) => one.api === request.api && isMeant(one.client, request.client),
    )
    if (rule === undefined || rule.left-- > 0) return link.toBroker.send(frame)
    rules.delete(rule)
    if (rule.kind === 'response') {
      link.losing.set(request.correlationId, { rule, request })
      return link.toBroker.send(frame)
    }
    if (rule.kind === 'request') return lose(link, rule, request)
    const answered = Promise.withResolvers<void>()
    answered.promise.catch(() => {}) // nobody may ever ask
    link.held = { correlationId: request.correlationId, answered }
    rule.arrive = () => {
      link.up.write(frame)
      return answered.promise
    }
    link.down.destroy()
    rule.happened.resolve(request)
  }

  function onResponse(link: Link, frame: Buffer): void {
    const correlationId = frame.readInt32BE(4)
    if (link.held !== undefined) {
      if (link.held.correlationId !== correlationId) return
      link.held.answered.resolve()
      return cutLink(link)
    }
    if (link.isSilent) return
    const losing = link.losing.get(correlationId)
    if (losing === undefined) return link.toClient.send(spoilt(frame))
    link.losing.clear()
    lose(link, losing.rule, losing.request)
  }

  function spoilt(frame: Buffer): Buffer {
    for (const spoiler of spoilers) {
      const at = spoiler.done < spoiler.times ? frame.indexOf(spoiler.bytes) : -1
      if (at < 0) continue
      spoiler.done += 1
      frame[at] = (frame[at] ?? 0) ^ 1
    }
    return frame
  }

  function lose(link: Link, rule: Rule, request: Request): void {
    if (rule.connection === 'cut') cutLink(link)
    else link.isSilent = true
    rule.happened.resolve(request)
  }

  function cutLink(link: Link): void {
    link.down.destroy()
    link.up.destroy()
    forget(link)
  }

  function choose(choice: Choice, kind: Rule['kind'], connection: Rule['connection']): Rule {
    const happened = Promise.withResolvers<Request>()
    const rule: Rule = {
      ...choice,
      kind,
      connection,
      left: choice.skip ?? 0,
      happened,
      arrive: undefined,
    }
    rules.add(rule)
    return rule
  }

  function turn(client: string, change: Partial<Weather>): void {
    weathers.set(client, { ...(weathers.get(client) ?? fair), ...change })
    for (const link of linksOf(client)) {
      if (weatherOf(link.client).isCut) cutLink(link)
      link.toBroker.go()
      link.toClient.go()
    }
  }

  const linksOf = (client: string): Link[] =>
    [...links].filter((link) => client === '' || isMeant(client, link.client))

  return {
    port: (server.address() as AddressInfo).port,
    connectTo: (address) => void (upstream = address),
    lose(loss) {
      const rule = choose(loss, loss.lost, loss.connection)
      return { happened: rule.happened.promise, cancel: () => void rules.delete(rule) }
    },
    hold(choice) {
      const rule = choose(choice, 'held', 'cut')
      return {
        happened: rule.happened.promise,
        cancel: () => void rules.delete(rule),
        async arrive() {
          if (rule.arrive === undefined) throw new Error('nothing is held yet')
          await rule.arrive()
        },
      }
    },
    spoil(bytes, times) {
      const spoiler = { bytes, times, done: 0 }
      spoilers.add(spoiler)
      return () => spoiler.done
    },
    cut: (client = '') => turn(client, { isCut: true }),
    stall: (client = '') => turn(client, { isStalled: true }),
    delay: (delayMs, client = '') => turn(client, { delayMs }),
    throttle: (bytesPerSecond, client = '') => turn(client, { bytesPerSecond }),
    heal(client = '') {
      if (client === '') weathers.clear()
      else weathers.delete(client)
      turn(client, {})
    },
    connections: (client = '') => linksOf(client).filter((link) => !link.down.destroyed).length,
    async close() {
      server.close()
      for (const link of links) cutLink(link)
      await once(server, 'close')
    },
  }
}

function isMeant(wanted: string | undefined, client: string | undefined): boolean {
  return wanted === undefined || client === wanted || client?.startsWith(`${wanted}-`) === true
}
