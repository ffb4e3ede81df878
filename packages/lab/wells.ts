// Well names of every plate format, 1 to 1,536 wells.

/** Canonical well name A01 … AF48 from A1, a01, A01, r01c01 or AF48; undefined if it is none. */
export function wellName(text: string): string | undefined {
  const harmony = /^r([0-9]{1,2})c([0-9]{1,2})$/i.exec(text)
  const letters = /^([A-Za-z]{1,2})([0-9]{1,2})$/.exec(text)
  const row = harmony ? Number(harmony[1]) : letters ? rowNumber(letters[1] ?? '') : 0
  const column = Number(harmony?.[2] ?? letters?.[2] ?? 0)
  if (row < 1 || row > 32 || column < 1 || column > 48) return undefined
  return wellAt(row, column)
}

/** Canonical well name of a row (1 … 32) and column (1 … 48). */
export function wellAt(row: number, column: number): string {
  const letter = (n: number): string => String.fromCharCode(64 + n)
  const name =
    row <= 26 ? letter(row) : letter(Math.floor((row - 1) / 26)) + letter(((row - 1) % 26) + 1)
  return name + String(column).padStart(2, '0')
}

/** Row (1 … 32) and column (1 … 48) of a canonical well name. */
export function wellPosition(well: string): { row: number; column: number } {
  const match = /^([A-Z]{1,2})([0-9]{2})$/.exec(well)
  if (!match) throw new Error(`"${well}" is no canonical well name`)
  return { row: rowNumber(match[1] ?? ''), column: Number(match[2]) }
}

function rowNumber(letters: string): number {
  let row = 0
  for (const char of letters.toUpperCase()) row = row * 26 + char.charCodeAt(0) - 64
  return row
}
