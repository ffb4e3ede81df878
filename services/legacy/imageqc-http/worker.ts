// Decodes and measures in a process of its own, one image at a time: what a hostile file takes down is this.
import { readPixels, subtractOffset } from '../pixels.ts'
import { measure, suspectsOffset } from './metrics.ts'
import type { Job, WorkerAnswer } from './workers.ts'

process.on('message', (job: Job) => {
  void assess(job).then((answer) => process.send?.(answer))
})
process.on('disconnect', () => process.exit())

async function assess({ path, ceiling, offset = 0 }: Job): Promise<WorkerAnswer> {
  try {
    const image = await readPixels(path)
    const { widthPx, heightPx, bitsPerPixel } = image
    const offsetSuspected = offset === 0 && suspectsOffset(image)
    const belowOffset = subtractOffset(image, offset)
    const level = ceiling > 0 ? ceiling : 2 ** bitsPerPixel - 1 - offset
    const metrics = measure(image, level)
    const found = { metrics, offsetSuspected, belowOffset }
    return { kind: 'measured', widthPx, heightPx, bitsPerPixel, ...found }
  } catch (cause) {
    return { kind: 'unreadable', text: cause instanceof Error ? cause.message : String(cause) }
  }
}
