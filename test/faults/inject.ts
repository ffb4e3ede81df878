// Carries faults out, and undoes all of them.
import { setTimeout as sleep } from 'node:timers/promises'
import { createKafka } from '@wellspring/kafka/connection.ts'
import type { Cluster } from './cluster.ts'
import type { Crew } from './crew.ts'
import { injectKind, isOfKind } from './kinds/all.ts'
import type { Ground } from './kinds/ground.ts'
import { poisonRecord, type SentPoison } from './plates.ts'
import { isOfFlush } from './points.ts'
import { CODECS_UNKNOWN, produceRaw } from './raw.ts'
import type { Fault } from './schedule.ts'
import type { Services } from './services.ts'

const limits = {
  poisonTries: 20,
  poisonEveryMs: 500,
  delayMs: 150,
  throttleBytesPerSecond: 20_000,
} as const

export type Target = {
  readonly crew: Crew
  readonly services: Services
  readonly cluster: Cluster
  readonly topicPrefix: string
  readonly tasks: number
  readonly ground: Ground
}

export type Injector = {
  /** Resolves when the fault is over. false: there was nobody to hit. */
  inject(fault: Fault): Promise<boolean>
  /** Everything that is still wrong is made good. */
  heal(): Promise<void>
}

export function injector(target: Target): Injector {
  const { crew, services, cluster } = target
  const { proxy } = cluster
  const stopped = new Set<number>()
  let poisons = 0
  let kinds = 0
  let isHealing = false

  function signal(pid: number, name: 'SIGSTOP' | 'SIGCONT'): void {
    try {
      process.kill(pid, name)
    } catch {
      // gone already
    }
  }

  async function restartArmed(name: string, killAt?: string): Promise<void> {
    await crew.stop(name)
    if (killAt !== undefined && !isHealing) crew.control(name, { killAt })
    crew.start(name)
  }

  async function inject(fault: Fault): Promise<boolean> {
    if (isOfKind(fault)) {
      kinds += 1
      return injectKind(fault, kinds, target.ground)
    }
    const name = 'coordinator' in fault ? nameOf(fault.coordinator) : ''
    switch (fault.kind) {
      case 'kill':
        return crew.kill(name)
      case 'point': {
        const killAt = `${fault.point}#${fault.nth}`
        if (isOfFlush(fault.point)) crew.control(name, { killAt })
        else await restartArmed(name, killAt)
        return true
      }
      case 'zombie': {
        const pid = crew.pid(name)
        if (pid === undefined) return false
        stopped.add(pid)
        signal(pid, 'SIGSTOP')
        await sleep(fault.forMs)
        signal(pid, 'SIGCONT')
        stopped.delete(pid)
        return true
      }
      case 'hand-over':
        if (crew.pid(name) === undefined) return false
        await restartArmed(name)
        return true
      case 'clock':
        crew.control(name, { clockShiftMs: fault.shiftMs })
        // A clock that is wrong from the start is another thing than one that steps.
        if (fault.forMs % 2 === 0) await restartArmed(name)
        await sleep(fault.forMs)
        crew.control(name, { clockShiftMs: 0 })
        if (fault.forMs % 2 === 0) await restartArmed(name)
        return true
      case 'scale-in':
        await crew.stop(name)
        await sleep(fault.forMs)
        crew.start(name)
        return true
      case 'scale-out':
        crew.start('extra')
        await sleep(fault.forMs)
        await crew.stop('extra')
        return true
      case 'broker-kill':
        await cluster.kill(fault.broker, () => sleep(fault.downMs))
        return true
      case 'broker-stop':
        await cluster.stop(fault.broker, fault.forMs)
        return true
      case 'leader-move':
        return cluster.moveLeaders().then(
          () => true,
          () => false,
        )
      case 'service-kill':
        await services.kill(fault.service, fault.downMs)
        return true
      case 'service-stop':
        await services.stop(fault.service, fault.forMs)
        return true
      case 'lie':
        services.lie(fault.lie, fault.forMs)
        await sleep(fault.forMs)
        return true
      case 'lose': {
        const { api, lost, connection } = fault
        const loss = proxy.lose({ api, lost, connection, client: name })
        const happened = loss.happened.then(() => true)
        const isHit = await Promise.race([happened, sleep(fault.forMs, false)])
        loss.cancel()
        // A silent connection is over when its user gives it up.
        return isHit
      }
      case 'network': {
        if (fault.weather === 'delay') proxy.delay(limits.delayMs, name)
        else if (fault.weather === 'throttle') proxy.throttle(limits.throttleBytesPerSecond, name)
        else proxy[fault.weather](name)
        await sleep(fault.forMs)
        proxy.heal(name)
        return true
      }
      case 'poison':
        poisons += 1
        if (fault.poison === 'unknown-codec') return refusedCodec(poisons)
        await sendPoison(fault.poison, poisons)
        return true
    }
  }

  /** The broker must not let it in: behind it, nobody could read on. */
  async function refusedCodec(n: number): Promise<boolean> {
    const place = { topic: `${target.topicPrefix}images.v1`, partition: n % target.tasks }
    const codec = CODECS_UNKNOWN[n % CODECS_UNKNOWN.length] ?? 5
    const code = await produceRaw(cluster.brokers, place, codec).catch(() => undefined)
    if (code === 0) throw new Error(`a broker let a batch of codec ${codec} in`)
    return code !== undefined
  }

  async function sendPoison(poison: SentPoison, n: number): Promise<void> {
    const { topic, partition, key, value, headers } = poisonRecord(poison, n, target.tasks)
    for (let tries = 1; ; tries += 1) {
      const producer = createKafka({ brokers: cluster.brokers }).producer({
        maxInFlightRequests: 1,
        retry: { retries: 0 },
      })
      try {
        await producer.connect()
        const message = { partition, key, value, headers: { ...headers } }
        await producer.send({ topic: target.topicPrefix + topic, acks: -1, messages: [message] })
        return
      } catch (error) {
        if (tries >= limits.poisonTries) throw error
        await sleep(limits.poisonEveryMs)
      } finally {
        await producer.disconnect()
      }
    }
  }

  return {
    inject,
    async heal() {
      isHealing = true
      for (const pid of stopped) signal(pid, 'SIGCONT')
      await cluster.heal()
      await services.heal()
    },
  }
}

export function nameOf(coordinator: number): string {
  return `c${coordinator + 1}`
}
