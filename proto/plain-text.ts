// Text from outside (names, URIs, messages, answers) on its way to a person: what a terminal obeys, what splits a line
// and what nobody can see is written out instead. Every program of ours that prints goes through here.

/** Control, format (bidirectional, zero width, tags), line and paragraph separators, halves of characters. */
const unseen = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu
const unseenButLineEnds = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

/** One line, whatever is in the text: "a\nb" becomes a, backslash, n, b. */
export function oneLine(text: string): string {
  return text.replace(unseen, written)
}

/** Lines of ours: as oneLine, but for their ends. */
export function lines(text: string): string {
  return text.replace(unseenButLineEnds, written)
}

/** JSON of a value that says the same to a parser, and of which a terminal obeys nothing. */
export function jsonText(value: unknown, indent?: number): string {
  return (JSON.stringify(value, null, indent) ?? 'null').replace(unseenButLineEnds, escaped)
}

const short: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

function written(char: string): string {
  return short[char] ?? escaped(char)
}

/** As JSON escapes it: two halves of what is beyond 16 bits. */
function escaped(char: string): string {
  let out = ''
  for (let at = 0; at < char.length; at += 1)
    out += `\\u${char.charCodeAt(at).toString(16).padStart(4, '0')}`
  return out
}
