// Step segment-nuclei: wraps a CellProfiler-like command line. Its exit code alone means little: success is exit
// code, done file, tables and label image together.
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import {
  SegmentNucleiErrorSchema,
  SegmentNucleiService,
  type SegmentNucleiRequest,
} from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import { runCommand, type CommandResult } from '../kit/command.ts'
import { readLeft } from '../kit/files.ts'
import { isUnsupportedKind, openImage } from '../kit/images.ts'
import { serve, type Call } from '../kit/serve.ts'
import { readOutput } from './output.ts'

const standIn = `${process.execPath} ${resolve(import.meta.dirname, '../legacy/nucseg/main.ts')}`
const program = (process.env['WELLSPRING_NUCSEG'] ?? standIn).split(' ')
const memoryMaxKib = 2 * 1024 * 1024
const doneBytesMax = 1_024
const exitCodes = { ok: 0, badInput: 2, emptyField: 3 }

await serve({
  name: 'segment-nuclei',
  version: '1.0.0',
  service: SegmentNucleiService,
  errors: SegmentNucleiErrorSchema,
  handlers: { segmentNuclei },
})

async function segmentNuclei({ nucleiImage, pixelOffset }: SegmentNucleiRequest, call: Call) {
  if (nucleiImage === undefined) throw call.fail('BAD_INPUT', 'the request names no image')
  const image = await openImage(nucleiImage, call, { corrupt: 'BAD_INPUT' })
  const scratch = await call.tempDir()
  const [out, done] = [join(scratch, 'out'), join(scratch, 'done')]
  await mkdir(out)
  const offset = pixelOffset > 0 ? ['-b', String(pixelOffset)] : []
  const limited = ['-c', `ulimit -d ${memoryMaxKib} && exec "$0" "$@"`, ...program]
  const result = await call.legacy(
    'exec nucseg',
    { 'process.command': program[0] ?? '' },
    (traceparent) =>
      runCommand({
        command: '/bin/sh',
        args: [...limited, '-i', image, '-o', out, '-d', done, ...offset],
        signal: call.signal,
        traceparent,
        timeoutMs: call.remainingMs(),
        env: { TMPDIR: scratch }, // the program leaves its temporary files behind
      }),
  )
  const word = await readLeft(done, doneBytesMax).catch(() => undefined)
  const code = exitCodeOf(result, word?.toString().trim(), call)
  const emptyField = code === exitCodes.emptyField
  const output = await readOutput(out, !emptyField).catch((error: unknown) => {
    throw call.fail('INCOMPLETE_OUTPUT', `exit code ${code}, but ${String(error)}`)
  })
  const table = { path: join(out, 'Nuclei.csv'), mediaType: 'text/csv' }
  if (output.nucleiCount === 0) {
    const published = await call.publish({ 'nuclei.csv': table })
    return { ...output, emptyField, table: published['nuclei.csv'] }
  }
  if (emptyField) throw call.fail('INCOMPLETE_OUTPUT', 'an empty field with nuclei in its table')
  const labels = { path: join(out, 'Nuclei_labels.png'), mediaType: 'image/png' }
  const published = await call.publish({ 'labels.png': labels, 'nuclei.csv': table })
  return { ...output, emptyField, labels: published['labels.png'], table: published['nuclei.csv'] }
}

function exitCodeOf(result: CommandResult, word: string | undefined, call: Call): number {
  if (result.kind === 'not-started') throw call.fail('CRASHED', result.why)
  const lastWords = result.stderr.trimEnd().split('\n').slice(-3).join(' | ').slice(-600)
  if (result.kind === 'killed')
    throw call.fail('CRASHED', `killed by ${result.signal}: ${lastWords}`, { endedProgram: 'own' })
  if (result.kind !== 'exited') throw call.fail('CRASHED', `${result.kind}: ${lastWords}`)
  const { code } = result
  const told = `exit code ${code}: ${lastWords}`
  if (code === exitCodes.badInput && isUnsupportedKind(lastWords))
    throw call.fail('UNSUPPORTED_KIND', told)
  if (code === exitCodes.badInput)
    throw call.fail(word === 'Failure' ? 'BAD_INPUT' : 'BAD_ARGUMENTS', told)
  if (code !== exitCodes.ok && code !== exitCodes.emptyField)
    throw call.fail('CRASHED', told, { endedProgram: 'own' })
  if (word === 'Complete') return code
  throw call.fail('INCOMPLETE_OUTPUT', `exit code ${code}, done file "${word ?? 'missing'}"`)
}
