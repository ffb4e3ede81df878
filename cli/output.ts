// What the person sees: data on stdout in the form asked for, everything else on stderr.
import type { JsonValue } from '@bufbuild/protobuf'

export const FORMATS = ['text', 'json', 'jsonl'] as const
export type Format = (typeof FORMATS)[number]

export function data(text: string): void {
  process.stdout.write(text.endsWith('\n') || text === '' ? text : `${text}\n`)
}

export function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** One thing: text, or JSON on one line (jsonl) or indented (json). */
export function showOne(format: Format, value: JsonValue, text: () => string): void {
  if (format === 'text') data(text())
  else data(format === 'json' ? JSON.stringify(value, null, 2) : JSON.stringify(value))
}

/** A list: text, {"items": […], "nextPageToken": ""}, or one object a line. */
export function showList(format: Format, items: readonly JsonValue[], text: () => string): void {
  if (format === 'text') data(text())
  else if (format === 'json') data(JSON.stringify({ items, nextPageToken: '' }, null, 2))
  else for (const item of items) data(JSON.stringify(item))
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
