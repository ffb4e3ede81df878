// Decodes and measures in a process of its own, one image at a time: what a hostile file takes down is this.
import { readPixels } from '../pixels.ts'
import { measure } from './metrics.ts'
import type { Job, WorkerAnswer } from './workers.ts'

process.on('message', (job: Job) => {
  void assess(job).then((answer) => process.send?.(answer))
})
process.on('disconnect', () => process.exit())

async function assess({ path, ceiling }: Job): Promise<WorkerAnswer> {
  try {
    const image = await readPixels(path)
    const { widthPx, heightPx, bitsPerPixel } = image
    return { kind: 'measured', widthPx, heightPx, bitsPerPixel, metrics: measure(image, ceiling) }
  } catch (cause) {
    return { kind: 'unreadable', text: cause instanceof Error ? cause.message : String(cause) }
  }
}
