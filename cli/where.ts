// --where step=…,reason=…: which dead letters a person means.
import { CliError, EXIT } from './exit.ts'

const FIELDS = ['step', 'reason', 'class', 'level', 'plate', 'well'] as const
export type Field = (typeof FIELDS)[number]
export type Where = ReadonlyMap<Field, string>

/** Reads "step=segment-nuclei,reason=TRUNCATED"; && may stand for the comma. */
export function parseWhere(text: string): Where {
  const where = new Map<Field, string>()
  for (const part of text.split(/,|&&/)) {
    const [name = '', value = ''] = part.split('=', 2).map((side) => side.trim())
    const field = FIELDS.find((known) => known === name)
    if (field === undefined || value === '')
      throw new CliError(
        EXIT.usage,
        `--where: "${part.trim()}" is not FIELD=VALUE with FIELD one of ${FIELDS.join(', ')}`,
      )
    where.set(field, value)
  }
  return where
}
