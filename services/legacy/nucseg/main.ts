import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { readPixels, subtractOffset, writePng16, type Pixels } from '../pixels.ts'
import { segmentNuclei, type Field, type Nucleus } from './segment.ts'

// nucseg -i FILE -o DIR -d DONEFILE [-b LEVEL]
// Counts nuclei in one image of a nuclear stain. Writes Image.csv, Nuclei.csv and Nuclei_labels.png.
// LEVEL is the grey level of no light, which is subtracted first.
// Exit codes: 0 ok, 1 crash, 2 bad input or arguments, 3 empty field.
const exitCodes = { ok: 0, crash: 1, badInput: 2, emptyField: 3 }

type Arguments = {
  readonly input: string
  readonly outDir: string
  readonly doneFile: string
  readonly offset: number
}

process.exitCode = await run()

async function run(): Promise<number> {
  const args = readArguments()
  if (args === undefined) return exitCodes.badInput
  chatter(args)
  let image: Pixels
  try {
    image = await readPixels(args.input)
    subtractOffset(image, args.offset)
  } catch (cause) {
    process.stderr.write(`nucseg: cannot read ${args.input}: ${String(cause)}\n`)
    writeFileSync(args.doneFile, 'Failure\n')
    return exitCodes.badInput
  }
  try {
    const field = segmentNuclei(image)
    await writeTables(args, image, field)
    process.stderr.write(`Times reported are CPU and Wall-clock times for each module\n`)
    writeFileSync(args.doneFile, 'Complete\n')
    return field.kind === 'empty' ? exitCodes.emptyField : exitCodes.ok
  } catch (cause) {
    process.stderr.write(`${cause instanceof Error ? cause.stack : String(cause)}\n`)
    writeFileSync(args.doneFile, 'Failure\n')
    return exitCodes.crash
  }
}

function readArguments(): Arguments | undefined {
  const usage = 'usage: nucseg -i FILE -o DIR -d DONEFILE [-b LEVEL]\n'
  try {
    const options = Object.fromEntries(
      ['i', 'o', 'd', 'b'].map((short) => [short, { type: 'string', short }]),
    )
    const { values } = parseArgs({
      options: options as Record<string, { type: 'string'; short: string }>,
    })
    const { i: input, o: outDir, d: doneFile, b: level = '0' } = values
    if (input !== undefined && outDir !== undefined && doneFile !== undefined) {
      if (!statSync(outDir).isDirectory()) throw new Error(`${outDir} is not a folder`)
      if (!/^[0-9]{1,5}$/.test(level)) throw new Error(`${level} is no grey level`)
      return { input, outDir, doneFile, offset: Number(level) }
    }
    process.stderr.write(usage)
  } catch (cause) {
    process.stderr.write(`nucseg: ${String(cause)}\n${usage}`)
  }
  return undefined
}

// Like the program it is modelled on: talks a lot, warns of nothing, and leaves its temporary folder behind.
function chatter({ input }: Arguments): void {
  const scratch = mkdtempSync(join(tmpdir(), 'nucseg'))
  writeFileSync(join(scratch, 'pipeline.json'), JSON.stringify({ input, modules: 5 }))
  process.stderr.write(
    `Version: 4.2.1 traceparent=${process.env['TRACEPARENT'] ?? '-'}\n` +
      'Failed to stop Java VM\n' +
      'Traceback (most recent call last):\n' +
      '  File "cellprofiler_core/utilities/java.py", line 121, in stop_java\n' +
      "AttributeError: module 'javabridge' has no attribute 'kill_vm'\n" +
      `Image # 1, module Images # 1: ${basename(input)}\n` +
      'Image # 1, module IdentifyPrimaryObjects # 5: CPU_time = 0.11 secs\n',
  )
}

async function writeTables(args: Arguments, image: Pixels, field: Field): Promise<void> {
  const nuclei = field.kind === 'empty' ? [] : field.nuclei
  writeFileSync(join(args.outDir, 'Nuclei.csv'), nucleiTable(nuclei))
  if (field.kind === 'nuclei') {
    await writePng16(join(args.outDir, 'Nuclei_labels.png'), { ...image, values: field.labels })
  }
  writeFileSync(join(args.outDir, 'Image.csv'), imageTable(args, image, field))
}

function nucleiTable(nuclei: readonly Nucleus[]): string {
  const header =
    'ImageNumber,ObjectNumber,AreaShape_Area,AreaShape_BoundingBoxMaximum_X,' +
    'AreaShape_BoundingBoxMaximum_Y,AreaShape_BoundingBoxMinimum_X,AreaShape_BoundingBoxMinimum_Y,' +
    'AreaShape_Center_X,AreaShape_Center_Y,Intensity_IntegratedIntensity_DNA,Intensity_MeanIntensity_DNA'
  const rows = nuclei.map((n, i) => {
    const center = [n.sumX / n.areaPx, n.sumY / n.areaPx]
    const light = [n.intensity, n.intensity / n.areaPx]
    return [1, i + 1, n.areaPx, n.maxX, n.maxY, n.minX, n.minY, ...center, ...light].join(',')
  })
  return [header, ...rows, ''].join('\n')
}

function imageTable(args: Arguments, image: Pixels, field: Field): string {
  const nuclei = field.kind === 'empty' ? [] : field.nuclei
  const areas = nuclei.map((nucleus) => nucleus.areaPx).toSorted((a, b) => a - b)
  const columns: Record<string, string | number> = {
    ImageNumber: 1,
    AreaOccupied_AreaOccupied_Nuclei: areas.reduce((sum, area) => sum + area, 0),
    AreaOccupied_TotalArea_Nuclei: image.values.length,
    Count_Nuclei: nuclei.length,
    FileName_DNA: JSON.stringify(basename(args.input)),
    Height_DNA: image.heightPx,
    MD5Digest_DNA: createHash('md5').update(readFileSync(args.input)).digest('hex'),
    Median_Nuclei_AreaShape_Area: median(areas),
    PathName_DNA: JSON.stringify(dirname(args.input)),
    Threshold_FinalThreshold_Nuclei: field.kind === 'empty' ? 0 : field.level,
    Width_DNA: image.widthPx,
  }
  return `${Object.keys(columns).join(',')}\n${Object.values(columns).join(',')}\n`
}

function median(sorted: readonly number[]): number {
  const half = sorted.length / 2
  const upper = sorted[Math.floor(half)] ?? 0
  return Number.isInteger(half) ? (upper + (sorted[half - 1] ?? upper)) / 2 : upper
}
