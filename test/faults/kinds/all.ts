// The kinds of trouble, each carried out from its start to its end.
import { setTimeout as sleep } from 'node:timers/promises'
import { throwBombs } from './bomb.ts'
import { KINDS, type Kind, type KindFault, type Variant } from './draw.ts'
import { moveShareAway, sendLargest } from './entities.ts'
import type { Ground } from './ground.ts'
import { sendOdd } from './odd.ts'
import { floodOtlp } from './otlp.ts'
import { deleteUnread } from './retention.ts'

export function isOfKind<F extends { readonly kind: string }>(
  fault: F,
): fault is Extract<F, KindFault> {
  return KINDS.some((kind: Kind) => kind === fault.kind)
}

/** Resolves when it is over; n counts the faults of all kinds. false: there was nobody to hit. */
export async function injectKind(fault: KindFault, n: number, ground: Ground): Promise<boolean> {
  const { services } = ground
  switch (fault.kind) {
    case 'null-header':
      return sendOdd(n, ground)
    case 'bomb':
      return throwBombs(n, ground)
    case 'fat-entity':
      return sendLargest(n, ground)
    case 'share-gone':
      return moveShareAway(n, ground, fault.forMs)
    case 'retention':
      return deleteUnread(n, ground, fault)
    case 'odd-replica':
      return besideOdd(fault.variant, n, { ground, forMs: fault.forMs })
    case 'fifo-output':
      services.lieAboutOutputs(fault.output, fault.forMs)
      await sleep(fault.forMs)
      return true
    case 'otlp-flood':
      return floodOtlp(`c${fault.coordinator + 1}`, ground)
  }
}

/** While it is there, a coordinator must be able to start. */
async function besideOdd(
  variant: Variant,
  n: number,
  { ground, forMs }: { readonly ground: Ground; readonly forMs: number },
): Promise<boolean> {
  const { services, crew, topicPrefix, notes } = ground
  return services.odd(variant, async () => {
    const atMs = Date.now()
    const problem = await crew.probe(`probe-${n}-${topicPrefix}`)
    notes.starts.push({ atMs, beside: `a replica that is ${variant}`, problem })
    await sleep(Math.max(0, atMs + forMs - Date.now()))
  })
}
