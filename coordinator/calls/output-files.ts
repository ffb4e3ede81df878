// The files that responses name, looked at without trust: whatever a wrapper put there, it costs that call alone.
import type { Artifact } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import {
  FileRefused,
  artifactBytesMax,
  fileRoots,
  sha256Of,
  type FileRoots,
} from '../../proto/artifact-file.ts'

export const fileLimits = {
  /** Responses with small files whose files are read at once; one with large files is read beside them. */
  readersMax: 4,
  smallBytesMax: 16 * 1024 * 1024,
  /** All files of a response together. */
  artifactBytesMax,
  /** How long the files of one response may take to read, waiting for a reader not counted. */
  checkMs: 30_000,
} as const
export type FileLimits = Readonly<Record<keyof typeof fileLimits, number>>

export type FileProblem = {
  readonly message: string
  /** Another attempt will not do better. */
  readonly isLasting: boolean
}

export type Files = {
  /** Why some artifact of a response is not what it is said to be; undefined: all are. Settles in any case. */
  problemOf(artifacts: readonly Artifact[]): Promise<FileProblem | undefined>
}

/** Files below the roots. One method's: those of another wait for none of its readers. */
export function openFiles(roots: readonly string[], limits: FileLimits = fileLimits): Files {
  const files = fileRoots(roots)
  const lanes = { small: openGate(limits.readersMax), large: openGate(1) }
  return {
    async problemOf(artifacts) {
      const bytes = artifacts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
      if (bytes > limits.artifactBytesMax) return tooLarge(artifacts, limits.artifactBytesMax)
      const gate = bytes > limits.smallBytesMax ? lanes.large : lanes.small
      return await gate.run(limits.checkMs, (signal) => firstProblem(artifacts, files, signal))
    },
  }
}

function tooLarge(artifacts: readonly Artifact[], bytesMax: number): FileProblem {
  const [first] = artifacts
  const more = artifacts.length > 1 ? ` and ${artifacts.length - 1} more` : ''
  const message = `${first?.uri}${more} are more than ${bytesMax} bytes (WELLSPRING_ARTIFACT_BYTES_MAX)`
  return { message, isLasting: true }
}

async function firstProblem(
  artifacts: readonly Artifact[],
  files: FileRoots,
  signal: AbortSignal,
): Promise<FileProblem | undefined> {
  for (const artifact of artifacts) {
    const message = await problem(artifact, files, signal)
    if (message !== undefined) return { message, isLasting: false }
  }
  return undefined
}

/** Never what was found: a wrapper would learn of every file that the coordinator may read. */
async function problem(
  { uri, sizeBytes, sha256 }: Artifact,
  files: FileRoots,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const file = await files.open(uri)
    try {
      const isSame =
        file.sizeBytes === sizeBytes && (await sha256Of(file.handle, sizeBytes, signal)) === sha256
      return isSame ? undefined : `${uri} differs in size or SHA-256 from what the response says`
    } finally {
      await file.handle.close()
    }
  } catch (error) {
    if (error instanceof FileRefused && error.trouble === 'outside')
      return `${uri} is below none of the roots of this coordinator (WELLSPRING_ROOTS, WELLSPRING_STORE)`
    return `${uri}: ${error instanceof Error ? error.message : String(error)}`
  }
}

type Gate = {
  /** Runs the work when there is room. At the end of its time it is told to end, and no longer waited for. */
  run(
    timeMs: number,
    work: (signal: AbortSignal) => Promise<FileProblem | undefined>,
  ): Promise<FileProblem | undefined>
}

function openGate(max: number): Gate {
  /** Told whether there is room now, or no hope of any. */
  const waiting: ((isFree: boolean) => void)[] = []
  let busy = 0
  /** Looks that did not end in time: a file system that does not answer holds them, each with a thread. */
  let stuck = 0
  async function enter(): Promise<boolean> {
    if (stuck >= max) return false
    if (busy >= max) return await new Promise((resolve) => waiting.push(resolve))
    busy += 1
    return true
  }
  function leave(): void {
    const next = waiting.shift()
    if (next) next(true)
    else busy -= 1
  }
  return {
    async run(timeMs, work) {
      const late: FileProblem = {
        message: `its files could not be read within ${timeMs / 1_000} s: does their file system answer?`,
        isLasting: false,
      }
      if (!(await enter())) return late
      const { promise, resolve } = Promise.withResolvers<FileProblem | undefined>()
      const ending = new AbortController()
      let isLate = false
      const timer = setTimeout(() => {
        isLate = true
        stuck += 1
        ending.abort(new Error('out of time'))
        resolve(late)
        if (stuck >= max) for (const one of waiting.splice(0)) one(false)
      }, timeMs)
      void work(ending.signal).then((found) => {
        clearTimeout(timer)
        if (isLate) stuck -= 1
        leave()
        resolve(found)
      })
      return await promise
    },
  }
}
