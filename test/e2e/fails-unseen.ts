// Preload for a coordinator in which something fails that nobody waits for, twice, when it decodes a text with this word.
export const UNSEEN = 'fails-unseen-µ' // plain ASCII is decoded without TextDecoder

let left = 2

globalThis.TextDecoder = class extends TextDecoder {
  override decode(...bytes: Parameters<InstanceType<typeof TextDecoder>['decode']>): string {
    const text = super.decode(...bytes)
    if (text.includes(UNSEEN) && left > 0) {
      left -= 1
      void Promise.reject(new Error('nobody waits for this'))
    }
    return text
  }
}
