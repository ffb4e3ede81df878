// One direction of a connection, and the weather it goes through.

export type Weather = {
  readonly isCut: boolean
  readonly isStalled: boolean
  readonly delayMs: number
  readonly bytesPerSecond: number
}

export const fair: Weather = {
  isCut: false,
  isStalled: false,
  delayMs: 0,
  bytesPerSecond: Infinity,
}

export type Lane = {
  /** Passes a frame on, in order, when the weather lets it. */
  send(frame: Buffer): void
  /** The weather has changed. */
  go(): void
  /** Calls back when everything sent has passed. */
  end(done: () => void): void
}

export function lane(write: (frame: Buffer) => void, weather: () => Weather): Lane {
  const queue: { readonly frame: Buffer; readonly atMs: number }[] = []
  let freeMs = 0
  let timer: NodeJS.Timeout | undefined
  let ended: (() => void) | undefined

  function go(): void {
    clearTimeout(timer)
    for (let head = queue[0]; head !== undefined; head = queue[0]) {
      const { isStalled, delayMs, bytesPerSecond } = weather()
      if (isStalled) return
      const takesMs = (head.frame.length * 1_000) / bytesPerSecond
      const dueMs = Math.max(head.atMs + delayMs, freeMs) + takesMs
      const waitMs = dueMs - performance.now()
      if (delayMs + takesMs > 0 && waitMs > 0) {
        timer = setTimeout(go, Math.ceil(waitMs))
        return
      }
      if (takesMs > 0) freeMs = dueMs
      queue.shift()
      write(head.frame)
    }
    ended?.()
  }

  return {
    send(frame) {
      queue.push({ frame, atMs: performance.now() })
      if (queue.length === 1) go()
    },
    go,
    end(done) {
      ended = done
      if (queue.length === 0) done()
    },
  }
}
