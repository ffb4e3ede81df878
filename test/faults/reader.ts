// Topics through the Java client: java/Reader.java is compiled once, by a compiler that needs no JDK, and run.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fetchJars, findJava, JVM_FLAGS, runJava } from '../../dev/broker/java.ts'
import { stateDir } from '../../dev/tools.ts'
import type { CommittedRecord, PartitionEnd, Position } from './evidence.ts'

const source = join(import.meta.dirname, 'java', 'Reader.java')

type Line =
  | { readonly kind: 'dir'; readonly path: string }
  | ({ readonly kind: 'end' } & PartitionEnd)
  | ({ readonly kind: 'record' } & Omit<CommittedRecord, 'value' | 'headers'> & {
        readonly value: string | null
        readonly headers: Readonly<Record<string, string | null>>
      })
  | { readonly kind: 'done' }

export type TopicsRead = {
  readonly committed: CommittedRecord[]
  readonly ends: PartitionEnd[]
  /** Where the brokers keep their segment files. */
  readonly dirs: string[]
}

export type TopicsOptions = {
  readonly brokers: readonly string[]
  readonly topicPrefix: string
  readonly leaveOut?: readonly string[]
  /** Batches that are passed over, each of one record. */
  readonly unopened?: readonly Position[]
}

/** All topics with a prefix but those left out, up to their last stable offsets. */
export async function readTopics(options: TopicsOptions): Promise<TopicsRead> {
  const { brokers, topicPrefix, leaveOut = [], unopened = [] } = options
  const java = await findJava()
  const classPath = `${await compiled()}:${await fetchJars('judge-libs')}`
  const places = unopened.map((one) => `${topicPrefix}${one.topic}/${one.partition}@${one.offset}`)
  const asked = [brokers.join(','), topicPrefix, places.join(',')]
  const args = [...JVM_FLAGS, '-cp', classPath, 'Reader', ...asked]
  const child = spawn(java, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const exited = once(child, 'close')
  let errors = ''
  child.stderr.on('data', (part: Buffer) => (errors = (errors + part.toString()).slice(-4_000)))
  const read: TopicsRead = { committed: [], ends: [], dirs: [] }
  let isDone = false
  const topicName = memo((topic: string) => topic.slice(topicPrefix.length))
  const left = new Set(leaveOut)
  for await (const json of createInterface({ input: child.stdout })) {
    const line = JSON.parse(json) as Line
    if (line.kind === 'done') isDone = true
    else if (line.kind === 'dir') read.dirs.push(text(line.path))
    else if (!left.has(topicName(line.topic))) take(read, { ...line, topic: topicName(line.topic) })
  }
  const [code] = (await exited) as [number | null]
  if (code !== 0 || !isDone) throw new Error(`The Java reader ended with code ${code}:\n${errors}`)
  const { committed } = read
  committed.sort(byPlace)
  return read
}

/** Directory of the reader's class, named by its source. */
async function compiled(): Promise<string> {
  const hash = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 12)
  const dir = join(stateDir, `judge-reader-${hash}`)
  if (existsSync(dir)) return dir
  const libs = await fetchJars('judge-libs')
  // Compiled aside and renamed: of two processes that start at once each sees nothing or all of it.
  const aside = mkdtempSync(`${dir}-`)
  const compiler = 'org.eclipse.jdt.internal.compiler.batch.Main'
  try {
    await runJava(['-cp', libs, compiler, '-17', '-proc:none', '-d', aside, source])
    renameSync(aside, dir)
  } catch (error) {
    rmSync(aside, { recursive: true, force: true })
    if (!existsSync(dir)) throw error // otherwise another process was quicker
  }
  return dir
}

function take(read: TopicsRead, line: Exclude<Line, { kind: 'dir' | 'done' }>): void {
  const { topic, partition } = line
  if (line.kind === 'end') {
    const { low, end, lastStable } = line
    read.ends.push({ topic, partition, low, end, lastStable })
    return
  }
  const { offset, timestampMs, key, value } = line
  const headers = Object.create(null) as Record<string, string>
  for (const [name, bytes] of Object.entries(line.headers)) {
    const header = headerName(name)
    // A name without a value says nothing.
    if (bytes === null) continue
    headers[header] = header === TYPE_HEADER ? typeName(bytes) : text(bytes)
  }
  read.committed.push({
    topic,
    partition,
    offset,
    timestampMs,
    key: key === null ? null : text(key),
    value: value === null ? null : Buffer.from(value, 'base64'),
    headers,
  })
}

/** A million records share a dozen names: each is held once. */
function memo(read: (text: string) => string): (text: string) => string {
  const known = new Map<string, string>()
  return (given) => {
    const found = known.get(given) ?? read(given)
    known.set(given, found)
    return found
  }
}

const TYPE_HEADER = 'wellspring-type'
const headerName = memo((base64) => text(base64))
const typeName = memo((base64) => text(base64))

const text = (base64: string | null): string => Buffer.from(base64 ?? '', 'base64').toString()

/** By topic, partition and offset. */
export function byPlace(a: CommittedRecord, b: CommittedRecord): number {
  if (a.topic !== b.topic) return a.topic < b.topic ? -1 : 1
  return a.partition - b.partition || a.offset - b.offset
}
