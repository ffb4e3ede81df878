// Kafka's frames, as much as a proxy needs: where one ends, and what a request asks for.

/** Requests that can be chosen, by their api key (kafka.apache.org/protocol). */
export const apiKeys = {
  Produce: 0,
  Fetch: 1,
  ListOffsets: 2,
  Metadata: 3,
  OffsetFetch: 9,
  FindCoordinator: 10,
  JoinGroup: 11,
  Heartbeat: 12,
  LeaveGroup: 13,
  SyncGroup: 14,
  ApiVersions: 18,
  InitProducerId: 22,
  AddPartitionsToTxn: 24,
  EndTxn: 26,
} as const

export type Api = keyof typeof apiKeys

export type Request = {
  /** undefined: one that is not in apiKeys. */
  readonly api: Api | undefined
  readonly correlationId: number
  readonly client: string
}

const names = new Map(Object.entries(apiKeys).map(([name, key]) => [key as number, name as Api]))

/** Collects chunks of a stream and hands on whole frames, their size in front. */
export function inFrames(onFrame: (frame: Buffer) => void): (chunk: Buffer) => void {
  let chunks: Buffer[] = []
  let length = 0
  let wanted = 4
  return (chunk) => {
    chunks.push(chunk)
    length += chunk.length
    if (length < wanted) return
    let rest = Buffer.concat(chunks)
    while (rest.length >= 4) {
      wanted = 4 + rest.readInt32BE(0)
      if (rest.length < wanted) break
      onFrame(rest.subarray(0, wanted))
      rest = rest.subarray(wanted)
      wanted = 4
    }
    chunks = [rest]
    length = rest.length
  }
}

/** size, api key, api version, correlation id, client id. */
export function requestOf(frame: Buffer): Request {
  const clientLength = frame.readInt16BE(12)
  return {
    api: names.get(frame.readInt16BE(4)),
    correlationId: frame.readInt32BE(8),
    client: clientLength < 0 ? '' : frame.toString('utf8', 14, 14 + clientLength),
  }
}
