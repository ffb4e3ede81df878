// What a look at a file can find.

/** One grey plane that decoders give out value by value. */
export type GreyImage = {
  readonly format: 'TIFF' | 'PNG'
  /** Of a TIFF, counted from 0, thumbnails included. */
  readonly page: number
  readonly widthPx: number
  readonly heightPx: number
  readonly bitsPerPixel: 8 | 16
  readonly isTiled: boolean
  /** Grey level that stands for no light, where the file states it; else 0. */
  readonly pixelOffset: number
}

export type Look =
  | { readonly kind: 'grey-image'; readonly image: GreyImage }
  | {
      readonly kind: 'unsupported' | 'beyond-limits' | 'truncated' | 'corrupt' | 'no-image'
      /** What was found, for people: "a TIFF with 3 samples per pixel (RGB)". */
      readonly why: string
    }

/** 10,000 px square: five times the largest camera frame in use. */
export const pixelsMax = 100_000_000

/** What can be read, for people. */
export const READ_KINDS =
  'what is read: one full page of one grey channel, 8 or 16 bit unsigned, as TIFF (uncompressed, LZW, Deflate or PackBits) or PNG'
