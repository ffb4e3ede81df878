// Preload for a coordinator that dies, as of a defect in native code, whenever it decodes a text with this word in it.
export const DEADLY = 'deadly-to-decode-µ' // plain ASCII is decoded without TextDecoder

globalThis.TextDecoder = class extends TextDecoder {
  override decode(...bytes: Parameters<InstanceType<typeof TextDecoder>['decode']>): string {
    const text = super.decode(...bytes)
    if (text.includes(DEADLY)) process.kill(process.pid, 'SIGKILL')
    return text
  }
}
