// What every parser hands on: images as their names, rows and metadata tell them. Nothing is opened for pixels.

/** One image as a parser found it. */
export type Sighting = {
  /** Absolute path of the file. */
  readonly path: string
  /** For people: "TimePoint_1/ZStep_0/9987_B02_s1_w1.TIF" or "manifest.csv:12". */
  readonly origin: string
  /** As the source writes it; undefined: the source does not say. */
  readonly plate: string | undefined
  readonly acquisition: string | undefined
  /** Canonical. */
  readonly well: string
  readonly site: number
  /** Counted from 0. */
  readonly timePoint: number
  /** As the instrument numbers it. */
  readonly z: number
  /** As the source writes it. */
  readonly channel: string
  /** Stain or filter named by the source; tells the channel's kind where its id does not. */
  readonly stain: string | undefined
  /** Grey level of no light, where the source states it; what the file itself states comes second. */
  readonly pixelOffset?: number | undefined
  /** What the source claims about the file's bytes; checked, never believed. */
  readonly claimed: { readonly sizeBytes?: number; readonly sha256?: string }
}

/** Something that was found and is not taken in. */
export type Refusal = {
  /** As Sighting.origin. */
  readonly origin: string
  /** What is wrong and what to do. */
  readonly reason: string
}

/** What the metadata of a plate declares, whether the files are there or not. */
export type Layout = {
  readonly plate: string
  readonly wells: readonly string[]
  readonly sites: readonly number[]
  readonly timePoints: readonly number[]
  readonly zPlanes: readonly number[]
  readonly referenceZ: number
  readonly channels: readonly { readonly id: string; readonly stain: string }[]
}

/** All that one source (a folder, a manifest) told. */
export type Survey = {
  /** Parser that read it, for instance "imagexpress". */
  readonly format: string
  readonly sightings: readonly Sighting[]
  readonly layouts: readonly Layout[]
  readonly refusals: readonly Refusal[]
  /** Things left aside on purpose, for people: "12 thumbnails". */
  readonly notes: readonly string[]
}

/** What an error says, for a refusal. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
