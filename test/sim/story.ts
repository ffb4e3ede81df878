// What happens in a world, drawn from its seed: plates, images lost, doubled, late and in conflict, commands,
// records nobody can read, and which calls go wrong.
import { create, toBinary } from '@bufbuild/protobuf'
import { durationFromMs } from '@bufbuild/protobuf/wkt'
import type { Fault } from '../../coordinator/calls/memory.ts'
import type { CallRequest } from '../../coordinator/calls/port.ts'
import { entityKey, partitionKey } from '@wellspring/lab/entity.ts'
import { hex, sha256 } from '../../coordinator/core/keys.ts'
import { taskOf } from '@wellspring/kafka/partition.ts'
import { ChannelKind, IdentitySchema } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { PlatePlanSchema, type PlatePlan } from '#proto/wellspring/lab/v1/plan_pb.ts'
import { CommandSchema, ImageAcquiredSchema } from '#proto/wellspring/record/v1/input_pb.ts'
import type { World } from './world.ts'

/** Faults end here; what comes later is only late. */
export const FAULTS_UNTIL_MS = 18_000

export type Story = {
  readonly plans: readonly PlatePlan[] /** When each image was first announced, ms of the world. */
  readonly announced: ReadonlyMap<string, number>
}

export function tell(world: World): Story {
  const { dice } = world
  const plans: PlatePlan[] = []
  const announced = new Map<string, number>()
  const plates = 1 + Math.floor(dice() * 2)
  for (let number = 1; number <= plates; number += 1) {
    const plan = planOf(dice, `P${number}`)
    plans.push(plan)
    command(world, `E/P${number}`, dice() < 0.7 ? 0 : dice() * 8_000, { case: 'plan', value: plan })
    announce(world, plan, announced)
    const key = `E/P${number}/a1`
    if (dice() < 0.4)
      command(world, `E/P${number}`, 10_000 + dice() * 8_000, {
        case: 'redrive',
        value: { entity: key, step: '' },
      })
    if (dice() < 0.1)
      command(world, `E/P${number}`, 8_000, { case: 'close', value: { entity: key } })
  }
  if (dice() < 0.3) world.after(dice() * 9_000, () => garbage(world))
  return { plans, announced }
}

function planOf(dice: () => number, plate: string): PlatePlan {
  const wells = Array.from({ length: 1 + Math.floor(dice() * 3) }, (_, at) => ({
    well: `A0${at + 1}`,
  }))
  const channels = [
    { name: 'DNA', kind: ChannelKind.NUCLEI },
    { name: 'RNA', kind: ChannelKind.FLUORESCENCE },
  ]
  return create(PlatePlanSchema, {
    experiment: 'E',
    plate,
    acquisition: 'a1',
    wells,
    sites: dice() < 0.5 ? [1] : [1, 2],
    timePoints: [0],
    zPlanes: [0],
    channels: dice() < 0.5 ? channels.slice(0, 1) : channels,
    completeness: {
      quorum: 0.5,
      quorumAfter: durationFromMs(3_000),
      deadline: durationFromMs(6_000),
    },
  })
}

function announce(world: World, plan: PlatePlan, announced: Map<string, number>): void {
  const { dice } = world
  for (const { well } of plan.wells)
    for (const site of plan.sites)
      for (const channel of plan.channels) {
        if (dice() < 0.06) continue
        const identity = create(IdentitySchema, {
          experiment: plan.experiment,
          plate: plan.plate,
          acquisition: plan.acquisition,
          well,
          timePoint: 0,
          site,
          z: 0,
          channel: channel.name,
        })
        const key = entityKey(identity)
        const send = (content: string, atMs: number): void =>
          world.after(atMs, () => {
            const artifact = {
              uri: `file:///${key}`,
              sizeBytes: 1,
              sha256: hex(sha256(Buffer.from(content))),
            }
            const bytes = toBinary(
              ImageAcquiredSchema,
              create(ImageAcquiredSchema, { identity, channel, artifact }),
            )
            produce(world, 'images.v1', partitionKey(key), bytes)
          })
        const atMs = dice() < 0.08 ? 11_000 + dice() * 5_000 : dice() * 5_000
        announced.set(key, atMs)
        send(key, atMs)
        if (dice() < 0.15) send(key, atMs + dice() * 4_000)
        if (dice() < 0.03) send(`${key} changed`, atMs + 1_000)
      }
}

type Action = Parameters<typeof create<typeof CommandSchema>>[1] extends infer I
  ? I extends { action?: infer A }
    ? A
    : never
  : never

function command(world: World, key: string, atMs: number, action: NonNullable<Action>): void {
  world.after(atMs, () =>
    produce(world, 'commands.v1', key, toBinary(CommandSchema, create(CommandSchema, { action }))),
  )
}

function produce(
  world: World,
  topic: 'images.v1' | 'commands.v1',
  key: string,
  bytes: Uint8Array | null,
): void {
  world.broker.produce(topic, taskOf(key, world.broker.tasks), key, bytes)
}

function garbage(world: World): void {
  const topic = world.dice() < 0.5 ? 'images.v1' : 'commands.v1'
  produce(world, topic, 'E/P1', Buffer.from('this is no protobuf'))
  produce(world, topic, 'E/P1', null)
}

/** Which executions go wrong; what the data decides (poison) is the same for every execution of an entity. */
export function scriptOf(
  dice: () => number,
  executions: Map<string, number>,
): (request: CallRequest) => Fault | undefined {
  return (request) => {
    const fault = faultOf(dice, request)
    const isDone = fault?.kind !== 'fail' && fault?.kind !== 'hang'
    if (isDone)
      executions.set(request.idempotencyKey, (executions.get(request.idempotencyKey) ?? 0) + 1)
    return fault
  }
}

function faultOf(dice: () => number, { entity, step }: CallRequest): Fault | undefined {
  const fate = sha256(Buffer.from(`${entity} ${step.name}`))[0] ?? 0
  if (fate < 5) return { kind: 'fail', reason: 'BAD_DATA' }
  if (fate < 8) return { kind: 'fail', reason: 'NEVER' }
  const roll = dice()
  if (roll < 0.08) return { kind: 'fail', reason: 'NOT_YET' }
  if (roll < 0.11) return { kind: 'fail', reason: 'BUSY', retryAfterMs: 50 }
  if (roll < 0.13) return { kind: 'lose' }
  if (roll < 0.16) return { kind: 'late', delayMs: dice() * 12_000 }
  if (roll < 0.17) return { kind: 'hang' }
  if (roll < 0.19) return { kind: 'twice' }
  return undefined
}

/**
 * Crashes, stops and rebalances until FAULTS_UNTIL_MS; afterwards one good rebalance. Returns when an outage ended
 * that began before any deadline could fall due, if there was one.
 */
export function trouble(world: World): number | undefined {
  const { dice } = world
  const SESSION_MS = 2_000
  world.lossRate = dice() < 0.5 ? 0.03 : 0
  const troubles = Math.floor(dice() * 5)
  for (let count = 0; count < troubles; count += 1) {
    world.after(500 + dice() * (FAULTS_UNTIL_MS - 2_000), () => {
      const victim = world.processes[Math.floor(dice() * world.processes.length)]
      if (!victim) return
      if (dice() < 0.6) {
        world.crash(victim)
        world.after(SESSION_MS, () => world.rebalance())
        world.after(500 + dice() * 3_000, () => {
          world.start()
          world.rebalance()
        })
      } else {
        const forMs = dice() * 8_000
        world.stop(victim, forMs)
        if (forMs > SESSION_MS) world.after(SESSION_MS, () => world.rebalance())
        world.after(forMs + dice() * 1_000, () => world.rebalance())
      }
    })
  }
  if (dice() < 0.5) world.after(dice() * FAULTS_UNTIL_MS, () => world.rebalance())
  world.after(FAULTS_UNTIL_MS + 9_000, () => {
    world.lossRate = 0
    world.rebalance()
  })
  return dice() < 0.2 ? outage(world) : undefined
}

/** Nobody reads, the topics fill, and deadlines fall due meanwhile. */
function outage(world: World): number {
  const fromMs = 500 + world.dice() * 2_000
  const forMs = 9_000
  world.after(fromMs, () => {
    for (const process of world.processes) world.stop(process, forMs)
  })
  world.after(fromMs + forMs + world.dice() * 1_000, () => world.rebalance())
  return fromMs + forMs
}
