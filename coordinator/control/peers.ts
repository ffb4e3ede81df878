// The other coordinators of the application: who owns what, and asking them. A question is passed on once at most.
import {
  Code,
  ConnectError,
  createClient,
  type Client,
  type HandlerContext,
} from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'
import { ControlService } from '#proto/wellspring/control/v1/control_pb.ts'
import { partitionKey } from '@wellspring/lab/entity.ts'
import { taskOf } from '@wellspring/kafka/partition.ts'
import type { Task } from '../core/state.ts'
import type { Model, TaskLook } from './model.ts'

/** Set on what is passed on; whoever gets it answers for itself alone. */
const forwardedHeader = 'wellspring-forwarded'
/** Below the command line's 10 s, so that the answer names the coordinator that did not answer. */
const askTimeoutMs = 8_000

export type ControlClient = Client<typeof ControlService>

export type CallOptions = {
  readonly headers: Record<string, string>
  readonly signal: AbortSignal
}

/** Where an entity's task is; down: here, and it cannot run. */
export type Place =
  | { readonly kind: 'here'; readonly task: Task }
  | { readonly kind: 'down'; readonly look: TaskLook }
  | { readonly kind: 'there'; readonly peer: Peer }

export type Peer = { readonly address: string; readonly client: ControlClient }

export type Peers = {
  /** Where the task of an entity key is. Throws UNAVAILABLE while nobody is known to run it. */
  placeOf(key: string, context: HandlerContext): Place
  /**
   * The coordinators that own the other tasks; none for a question that was passed on. Throws UNAVAILABLE while
   * a task has no owner: an answer without it would look whole.
   */
  others(context: HandlerContext): Peer[]
  /** The same with their tasks, and the tasks without an owner. */
  foreign(context: HandlerContext): {
    readonly known: readonly { readonly peer: Peer; readonly tasks: readonly number[] }[]
    readonly unowned: number[]
  }
  /** Asks a peer. Its own refusals pass through; silence becomes UNAVAILABLE with its address. */
  ask<T>(
    peer: Peer,
    context: HandlerContext,
    question: (client: ControlClient, options: CallOptions) => Promise<T>,
  ): Promise<T>
}

/** owners: addresses (host:port or http://host:port) of the coordinators that own tasks, by task. */
export function openPeers(model: Model, owners: () => ReadonlyMap<number, string>): Peers {
  const clients = new Map<string, ControlClient>()

  function peerAt(owner: string): Peer {
    const address = owner.includes('://') ? owner : `http://${owner}`
    const known = clients.get(address)
    if (known) return { address, client: known }
    const transport = createConnectTransport({ baseUrl: address, httpVersion: '1.1' })
    const client = createClient(ControlService, transport)
    clients.set(address, client)
    return { address, client }
  }

  function foreign(context: HandlerContext): ReturnType<Peers['foreign']> {
    if (isForwarded(context)) return { known: [], unowned: [] }
    const here = new Set([...model.owned().keys(), ...model.assigned().map(({ task }) => task)])
    const away = Array.from({ length: model.tasks }, (_, number) => number).filter(
      (number) => !here.has(number),
    )
    const byOwner = Map.groupBy(away, (number) => owners().get(number) ?? '')
    const unowned = byOwner.get('') ?? []
    byOwner.delete('')
    return {
      known: [...byOwner].map(([owner, tasks]) => ({ peer: peerAt(owner), tasks })),
      unowned,
    }
  }

  return {
    placeOf(key, context) {
      const number = taskOf(partitionKey(key), model.tasks)
      const task = model.owned().get(number)
      if (task) return { kind: 'here', task }
      const look = model.assigned().find((one) => one.task === number)
      if (look?.down) return { kind: 'down', look }
      const owner = owners().get(number)
      if (look || !owner || isForwarded(context)) throw moving([number])
      return { kind: 'there', peer: peerAt(owner) }
    },
    others(context) {
      const unknown = model.assigned().filter(({ isRunning, down }) => !isRunning && !down)
      if (unknown.length > 0) throw moving(unknown.map(({ task }) => task))
      const { known, unowned } = foreign(context)
      if (unowned.length > 0) throw moving(unowned)
      return known.map(({ peer }) => peer)
    },
    foreign,
    async ask(peer, context, question) {
      const signal = AbortSignal.any([context.signal, AbortSignal.timeout(askTimeoutMs)])
      try {
        return await question(peer.client, {
          headers: { [forwardedHeader]: model.instance },
          signal,
        })
      } catch (cause) {
        const { code, rawMessage } = ConnectError.from(cause)
        if (
          code === Code.NotFound ||
          code === Code.InvalidArgument ||
          code === Code.FailedPrecondition
        )
          throw new ConnectError(rawMessage, code)
        const message = `the coordinator at ${peer.address} does not answer for its tasks (${rawMessage}): try again in a few seconds`
        throw new ConnectError(message, Code.Unavailable, undefined, undefined, cause)
      }
    },
  }
}

function isForwarded(context: HandlerContext): boolean {
  return context.requestHeader.has(forwardedHeader)
}

function moving(tasks: readonly number[]): ConnectError {
  const which = `${tasks.length === 1 ? 'task' : 'tasks'} ${tasks.join(', ')}`
  const message = `no coordinator runs ${which} for now (start or take-over): try again in a few seconds`
  return new ConnectError(message, Code.Unavailable)
}
