// The Java console consumer as a judge: reads what a client that is not ours would be shown.
import { fetchJars, runJava } from './java.ts'

export type Judged = {
  readonly partition: number
  readonly offset: number
  readonly key: string | null
  readonly value: Buffer | null
  readonly headers: Readonly<Record<string, string>>
}

export type JudgeOptions = {
  readonly brokers: readonly string[]
  readonly topic: string
  /** Ends when nothing came for so long; default 6 s, 30 s with recordsMax. */
  readonly quietMs?: number
  /** Ends after so many records. */
  readonly recordsMax?: number
}

// Bytes are printed with everything but printable ASCII escaped as \xHH, so the separators never occur in data.
const field = '\t'
const headerSeparator = '\x02'
const absent = '<null>'

// The consumer's first poll joins a group, which takes its time on a busy machine. With a count given, the count ends
// it and the quiet is only a bound.
const quietMs = 6_000
const countedQuietMs = 30_000

/** All records of a topic, read_committed, by the Java client; in order within a partition. */
export async function javaConsume(options: JudgeOptions): Promise<Judged[]> {
  const classPath = await fetchJars('judge-libs')
  const bytes = 'org.apache.kafka.common.serialization.BytesDeserializer'
  const properties = {
    'print.partition': 'true',
    'print.offset': 'true',
    'print.headers': 'true',
    'print.key': 'true',
    'print.value': 'true',
    'key.separator': field,
    'headers.separator': headerSeparator,
    'null.literal': absent,
    'key.deserializer': bytes,
    'value.deserializer': bytes,
    'headers.deserializer': bytes,
  }
  const flags = Object.entries(properties).flatMap(([name, value]) => [
    '--formatter-property',
    `${name}=${value}`,
  ])
  if (options.recordsMax !== undefined) flags.push('--max-messages', String(options.recordsMax))
  const output = await runJava([
    '-cp',
    classPath,
    'org.apache.kafka.tools.consumer.ConsoleConsumer',
    '--bootstrap-server',
    options.brokers.join(','),
    '--topic',
    options.topic,
    '--from-beginning',
    '--isolation-level',
    'read_committed',
    '--timeout-ms',
    String(options.quietMs ?? (options.recordsMax === undefined ? quietMs : countedQuietMs)),
    ...flags,
  ])
  return output
    .split('\n')
    .filter((line) => line.startsWith('Partition:'))
    .map(parse)
}

function parse(line: string): Judged {
  const [partition = '', offset = '', headers = '', key = absent, value = absent] =
    line.split(field)
  return {
    partition: Number(partition.slice('Partition:'.length)),
    offset: Number(offset.slice('Offset:'.length)),
    headers: parseHeaders(headers),
    key: unescape(key)?.toString('utf8') ?? null,
    value: unescape(value),
  }
}

function parseHeaders(text: string): Record<string, string> {
  const headers: Record<string, string> = {}
  if (text === 'NO_HEADERS') return headers
  for (const pair of text.split(headerSeparator)) {
    const colon = pair.indexOf(':')
    headers[pair.slice(0, colon)] = unescape(pair.slice(colon + 1))?.toString('utf8') ?? ''
  }
  return headers
}

function unescape(text: string): Buffer | null {
  if (text === absent) return null
  return Buffer.from(
    text.replace(/\\x([0-9A-F]{2})/gi, (_, pair: string) =>
      String.fromCharCode(parseInt(pair, 16)),
    ),
    'latin1',
  )
}
