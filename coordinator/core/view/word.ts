import type { DescEnum } from '@bufbuild/protobuf'

/** Name of an enum value without its prefix, as people read it: RETRYABLE, PLATE, PASS. */
export function wordOf(desc: DescEnum, value: number): string {
  return desc.value[value]?.localName ?? `UNKNOWN_${value}`
}
