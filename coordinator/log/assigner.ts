// Who owns which task: whole tasks (one partition of every input), as few moves as possible, addresses for all.
import type { Assigner, GroupMember, PartitionAssigner } from 'kafkajs'
import { modules } from '@wellspring/kafka/patches.ts'

/** What a member tells the leader of the group when it joins. */
export type Claim = {
  readonly address: string
  /** Tasks it owned, in this generation. */
  readonly owned: readonly number[]
  readonly generation: number
}

export type Candidate = Claim & { readonly memberId: string }

/**
 * Tasks per member: every task once, numbers differ by one at most. A member keeps what it owned in the newest
 * generation that claims the task, as far as its share goes. Pure, and the same for any order of members.
 */
export function assignTasks(members: readonly Candidate[], tasks: number): Map<string, number[]> {
  const owners = newestOwners(members, tasks)
  const kept = new Map(members.map((member) => [member.memberId, [] as number[]]))
  for (const [task, memberId] of owners) kept.get(memberId)?.push(task)
  // Larger shares go to those who have most, so that the fewest tasks move.
  const order = [...kept.keys()].sort((a, b) => count(kept, b) - count(kept, a) || (a < b ? -1 : 1))
  const share = Math.floor(tasks / order.length)
  const larger = tasks % order.length
  const shares = new Map(
    order.map((memberId, index) => [memberId, share + (index < larger ? 1 : 0)]),
  )
  for (const memberId of order) kept.get(memberId)?.splice(shares.get(memberId) ?? 0)
  const taken = new Set([...kept.values()].flat())
  const free = Array.from({ length: tasks }, (_, task) => task).filter((task) => !taken.has(task))
  for (const memberId of order) {
    const mine = kept.get(memberId) ?? []
    mine.push(...free.splice(0, (shares.get(memberId) ?? 0) - mine.length))
    mine.sort((a, b) => a - b)
  }
  return kept
}

export type AssignerOptions = {
  readonly topics: readonly string[]
  readonly tasks: number
  /** What this member claims now. */
  readonly claim: () => Claim
}

/** The assigner for kafkajs. An error in it ends the consumer for good. */
export function taskAssigner({ topics, tasks, claim }: AssignerOptions): PartitionAssigner {
  const { MemberMetadata, MemberAssignment } = modules.load<Protocol>('consumer/assignerProtocol')
  const name = 'WellspringTasks'
  return ({ cluster }): Assigner => ({
    name,
    version: 0,
    protocol: ({ topics: subscribed }) => ({
      name,
      metadata: MemberMetadata.encode({
        version: 0,
        topics: subscribed,
        userData: Buffer.from(JSON.stringify(claim())),
      }),
    }),
    async assign({ members }) {
      for (const topic of topics) {
        const partitions = cluster.findTopicPartitionMetadata(topic).length
        if (partitions !== tasks) {
          throw new Error(
            `${topic} has ${partitions} partitions and must have ${tasks}: partitions cannot be added to a running application`,
          )
        }
      }
      const candidates = members.map((member) => candidateOf(member, MemberMetadata))
      const assigned = assignTasks(candidates, tasks)
      const addresses: Record<string, string> = {}
      for (const { memberId, address } of candidates) {
        for (const task of assigned.get(memberId) ?? []) addresses[task] = address
      }
      const userData = Buffer.from(JSON.stringify(addresses))
      return [...assigned].map(([memberId, mine]) => ({
        memberId,
        memberAssignment: MemberAssignment.encode({
          version: 0,
          assignment: Object.fromEntries(topics.map((topic) => [topic, mine])),
          userData,
        }),
      }))
    },
  })
}

/** Control address by task, as an assignment carries it. */
export function addressesIn(assignment: Buffer): Map<number, string> {
  const { MemberAssignment } = modules.load<Protocol>('consumer/assignerProtocol')
  const parsed = parseJson(MemberAssignment.decode(assignment)?.userData)
  return new Map(Object.entries(parsed).map(([task, address]) => [Number(task), String(address)]))
}

type Protocol = {
  MemberMetadata: {
    encode(metadata: { version: number; topics: string[]; userData: Buffer }): Buffer
    decode(buffer: Buffer): { userData: Buffer | null }
  }
  MemberAssignment: {
    encode(assignment: {
      version: number
      assignment: Record<string, number[]>
      userData: Buffer
    }): Buffer
    decode(buffer: Buffer): { userData: Buffer | null } | null
  }
}

function newestOwners(members: readonly Candidate[], tasks: number): Map<number, string> {
  const newest = new Map<number, Candidate>()
  for (const member of [...members].sort((a, b) => (a.memberId < b.memberId ? -1 : 1))) {
    for (const task of member.owned) {
      const other = newest.get(task)
      if (task >= tasks || (other !== undefined && other.generation >= member.generation)) continue
      newest.set(task, member)
    }
  }
  return new Map(
    [...newest].sort(([a], [b]) => a - b).map(([task, { memberId }]) => [task, memberId]),
  )
}

function count(kept: ReadonlyMap<string, readonly number[]>, memberId: string): number {
  return kept.get(memberId)?.length ?? 0
}

/** A member of another version may say nothing we understand: it owns nothing then. */
function candidateOf(member: GroupMember, protocol: Protocol['MemberMetadata']): Candidate {
  const said = parseJson(protocol.decode(member.memberMetadata).userData)
  const owned = Array.isArray(said['owned'])
    ? said['owned'].filter((task) => Number.isInteger(task))
    : []
  return {
    memberId: member.memberId,
    address: typeof said['address'] === 'string' ? said['address'] : '',
    owned: owned as number[],
    generation: typeof said['generation'] === 'number' ? said['generation'] : -1,
  }
}

function parseJson(data: Buffer | null | undefined): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(data?.toString('utf8') ?? '')
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
