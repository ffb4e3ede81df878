// Values of flags, read from text; commander shows the message and exits with 2.
import { InvalidArgumentError } from 'commander'
import { parseChannels } from '../ingest/channels.ts'
import { parsePixelOffsets } from '../ingest/offsets.ts'
import { messageOf } from '../ingest/sighting.ts'

export function channels(text: string): ReturnType<typeof parseChannels> {
  try {
    return parseChannels(text)
  } catch (error) {
    throw new InvalidArgumentError(messageOf(error))
  }
}

export function pixelOffsets(text: string): ReturnType<typeof parsePixelOffsets> {
  try {
    return parsePixelOffsets(text)
  } catch (error) {
    throw new InvalidArgumentError(messageOf(error))
  }
}

export function whole(text: string): number {
  if (/^[0-9]{1,9}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('want a whole number')
}

export function share(text: string): number {
  const value = Number(text)
  if (text !== '' && value >= 0 && value <= 1) return value
  throw new InvalidArgumentError('want a share from 0 to 1')
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }

/** "90s", "500ms", "2m", "1h" in milliseconds. */
export function duration(text: string): number {
  const match = /^([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)$/.exec(text)
  if (match) return Math.round(Number(match[1]) * (UNITS[match[2] ?? ''] ?? 0))
  throw new InvalidArgumentError('want a time such as 500ms, 90s, 2m or 1h')
}
