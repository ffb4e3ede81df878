// Recognises what a path holds and lets the parser that fits read it. A new layout is a new file and a line here.
import type { Dirent } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { extname, join, relative } from 'node:path'
import { surveyCsv, type CsvOptions } from './csv.ts'
import { surveyImageXpress } from './imagexpress.ts'
import type { Survey } from './sighting.ts'

const filesMax = 5_000_000

/** Reads a folder or a CSV manifest. Throws when nothing in it is known, saying what to do. */
export async function survey(path: string, options: CsvOptions = {}): Promise<Survey> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new Error(`cannot read ${path}: no such folder or file`, { cause })
  })
  if (found.isFile()) {
    if (extname(path).toLowerCase() === '.csv') return surveyCsv(path, options)
    throw new Error(`${path} is neither a folder nor a .csv manifest`)
  }
  const files = await walk(path)
  const read = await surveyImageXpress(path, files)
  if (read) return read
  const manifests = files.filter((file) => /\.csv$/i.test(file)).slice(0, 3)
  throw new Error(
    `${path} holds no images named as ImageXpress names them (BASE_B02_s1_w1.tif) among ${files.length} files: ` +
      (manifests.length > 0
        ? `ingest a manifest instead, for instance ${manifests.map((file) => join(path, file)).join(' or ')}`
        : 'write a CSV manifest with columns path,plate,well,site,channel and ingest that'),
  )
}

/** All files below a folder, relative, in a stable order. Links to files count as files; to folders they do not. */
async function walk(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  if (entries.length > filesMax)
    throw new Error(`${root} holds more than ${filesMax} files: ingest plate by plate`)
  const files = await Promise.all(entries.map(isFile))
  return entries
    .filter((_, at) => files[at])
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .sort((a, b) => (a < b ? -1 : 1))
}

async function isFile(entry: Dirent): Promise<boolean> {
  if (!entry.isSymbolicLink()) return entry.isFile()
  const target = await stat(join(entry.parentPath, entry.name)).catch(() => undefined)
  return target?.isFile() ?? false
}
