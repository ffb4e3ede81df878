// What the person sees: data on stdout in the form asked for, everything else on stderr. The one exit for text: wherever
// the words come from, no control character in them reaches a terminal, and none splits a line.
import type { JsonValue } from '@bufbuild/protobuf'
import { jsonText, lines, oneLine } from '../proto/plain-text.ts'

export const FORMATS = ['text', 'json', 'jsonl'] as const
export type Format = (typeof FORMATS)[number]

/** Lines of ours on stdout. Values in them have been through shown(). */
export function data(text: string): void {
  process.stdout.write(text.endsWith('\n') || text === '' ? visible(text) : `${visible(text)}\n`)
}

/** One value as JSON on stdout, with something of JSON's own behind it. */
export function dataJson(value: JsonValue, more = ''): void {
  process.stdout.write(`${jsonText(value)}${more}\n`)
}

/** One line on stderr for each text. */
export function say(...texts: readonly string[]): void {
  for (const text of texts) process.stderr.write(`${oneLine(text)}\n`)
}

/** Lines of ours on stderr, for instance a help text. */
export function sayLines(text: string): void {
  process.stderr.write(lines(text))
}

/** A line on a terminal that the next one takes the place of; the empty one takes it away. */
export function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${oneLine(text)}`)
}

/** One thing: the text of it, or its JSON on one line (jsonl) or indented (json). */
export function showOne<T>(
  format: Format,
  json: JsonValue,
  value: T,
  text: (shown: T) => string,
): void {
  if (format === 'text') data(text(shown(value)))
  else if (format === 'json') process.stdout.write(`${jsonText(json, 2)}\n`)
  else dataJson(json)
}

/** A list: the text of it, {"items": […], "nextPageToken": ""}, or one object a line. */
export function showList<T>(
  format: Format,
  items: readonly JsonValue[],
  value: T,
  text: (shown: T) => string,
): void {
  if (format !== 'jsonl') showOne(format, { items: [...items], nextPageToken: '' }, value, text)
  else for (const item of items) dataJson(item)
}

/** A copy in which every text is one line, for the making of text: the JSON of a thing has its texts as they are. */
export function shown<T>(value: T): T {
  return copyOf(value) as T
}

function copyOf(value: unknown): unknown {
  if (typeof value === 'string') return oneLine(value)
  if (Array.isArray(value)) return value.map(copyOf)
  if (value instanceof Map)
    return new Map([...value].map(([key, inner]) => [copyOf(key), copyOf(inner)]))
  if (value instanceof Set) return new Set([...value].map(copyOf))
  if (value === null || typeof value !== 'object' || ArrayBuffer.isView(value)) return value
  // The names too: some objects are keyed by what came from outside.
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [oneLine(name), copyOf(inner)]),
  )
}

const ESCAPE = String.fromCharCode(27)

/** The colours that paint() makes, and nothing else that a terminal obeys. */
const ownColours = new RegExp(`(${ESCAPE}\\[(?:3[1-4]|90|0)m)`)

/** Lines of ours, in our colours. */
export function visible(text: string): string {
  const parts = text.split(ownColours)
  return parts.map((part, at) => (at % 2 === 1 ? part : lines(part))).join('')
}

/** Columns aligned; numbers to the right. The first row is the header. */
export function table(rows: readonly (readonly (string | number)[])[]): string {
  const widths: number[] = []
  for (const row of rows)
    row.forEach((cell, at) => (widths[at] = Math.max(widths[at] ?? 0, String(cell).length)))
  const line = (row: readonly (string | number)[]): string =>
    row
      .map((cell, at) =>
        typeof cell === 'number'
          ? String(cell).padStart(widths[at] ?? 0)
          : cell.padEnd(widths[at] ?? 0),
      )
      .join('  ')
      .trimEnd()
  return rows.map(line).join('\n')
}

export function seconds(ms: number): string {
  if (ms < 10_000) return `${(ms / 1000).toFixed(2)} s`
  return ms < 600_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60_000)} min`
}

/** How text may look on stdout: colour only on a terminal, glyphs only where UTF-8 is spoken. */
export type Look = { readonly colour: boolean; readonly utf8: boolean }

export function lookOf(stream: { isTTY?: boolean } = process.stdout): Look {
  const { env } = process
  const locale = env['LC_ALL'] || env['LC_CTYPE'] || env['LANG'] || ''
  return {
    colour: stream.isTTY === true && !env['NO_COLOR'] && env['TERM'] !== 'dumb',
    utf8: /utf-?8/i.test(locale),
  }
}

const COLOURS = { green: 32, yellow: 33, red: 31, grey: 90, blue: 34 } as const
export type Colour = keyof typeof COLOURS

export function paint(look: Look, colour: Colour, text: string): string {
  return look.colour ? `\u001b[${COLOURS[colour]}m${text}\u001b[0m` : text
}
