// Ways to measure an image wrongly, or to pay whatever a file asks, each with the test that must then fail.
import type { Catcher, Edit, Mutant } from './list.ts'

const edit = (file: string, find: string, replace: string): Edit => ({ file, find, replace })
const look = (only: string): Catcher => ({ file: 'test/formats/look.test.ts', only })
const kinds = (only: string): Catcher => ({
  file: 'test/services/legacy/pixel-kinds.test.ts',
  only,
})
const wrappers = (only: string): Catcher => ({ file: 'test/services/image-kinds.test.ts', only })
const ingested = (only: string): Catcher => ({ file: 'test/ingest/kinds.test.ts', only })
const linear = (only: string): Catcher => ({ file: 'test/ingest/linear.test.ts', only })

const pixels = 'services/legacy/pixels.ts'
const pages = 'formats/tiff-pages.ts'
const tiff = 'formats/tiff.ts'
const kind = 'formats/tiff-kind.ts'
const source = 'formats/source.ts'

export const imageMutants: readonly Mutant[] = [
  {
    name: 'bend the levels of a grey profile',
    edits: [edit(pixels, '    ignoreIcc: true,\n', '')],
    tests: [kinds('level by grey level')],
  },
  {
    name: 'measure the first page, whatever it is',
    edits: [edit(pixels, '    page,\n  }', '    page: page * 0,\n  }')],
    tests: [kinds('level by grey level')],
  },
  {
    name: 'believe libvips about tiles',
    edits: [
      edit(
        pixels,
        'image.isTiled ? await tiledValues(path, image) : await valuesOf(path, image)',
        'await (image.isTiled ? valuesOf(path, image) : valuesOf(path, image) || tiledValues(path, image))',
      ),
    ],
    tests: [kinds('tile of deflate is given out as black')],
  },
  {
    name: 'take one page of a stack for the image',
    edits: [
      edit(
        pages,
        '      if (full !== undefined)\n',
        '      if (full !== undefined && index < 0)\n',
      ),
    ],
    tests: [wrappers('refuses every unsupported kind'), ingested('every unsupported kind')],
  },
  {
    name: 'take a thumbnail for a full page',
    edits: [edit(pages, "bits & 1 ? 'reduced' : 'full'", "bits & 1 ? 'full' : 'full'")],
    tests: [look('every kind is told')],
  },
  {
    name: 'follow directories in a circle',
    edits: [
      edit(
        pages,
        '  if (visited.has(at)) throw circleAt(at)\n  visited',
        '  if (visited.has(-1 - at)) throw circleAt(at)\n  visited',
      ),
    ],
    tests: [look('follows itself: corrupt')],
  },
  {
    name: 'let the last of two tags count',
    edits: [
      edit(tiff, '    if (entries.has(entry.tag))\n', '    if (entries.has(-1 - entry.tag))\n'),
    ],
    tests: [look('2,000 lists of strips')],
  },
  {
    name: 'believe how many entries there are',
    edits: [
      edit(tiff, '  if (at + countBytes + count * entryBytes > source.size)', '  if (count < 0)'),
    ],
    tests: [{ file: 'test/formats/fuzz.test.ts' }],
  },
  {
    name: 'look at as many entries as there are',
    edits: [edit(source, 'if (this.#entries > this.#limits.entriesMax)', 'if (this.#entries < 0)')],
    tests: [look('end at the budget')],
  },
  {
    name: 'wait for a named pipe',
    edits: [edit(source, 'constants.O_RDONLY | constants.O_NONBLOCK', 'constants.O_RDONLY')],
    tests: [look('a named pipe or a folder')],
  },
  {
    name: 'call a slow file damaged',
    edits: [edit(source, 'error === clock.reason)', 'error === undefined)')],
    tests: [look('is slow, not damaged')],
  },
  {
    name: 'believe a size that the file cannot hold',
    edits: [
      edit(kind, '  if (bytes > fileBytes * (expansionMax', '  if (bytes < 0 * (expansionMax'),
    ],
    tests: [look('9,000 px square in Deflate')],
  },
  {
    name: 'give signed pixels out as unsigned ones',
    edits: [edit(kind, '  if (sampleFormat !== 1)\n', '  if (sampleFormat > 2)\n')],
    tests: [look('every kind is told')],
  },
  {
    name: 'hand every kind on to the program',
    edits: [
      edit(
        'services/kit/images.ts',
        "    case 'unsupported':\n      throw call.fail('UNSUPPORTED_KIND', `${look.why}; ${READ_KINDS}: ${artifact.uri}`)\n",
        "    case 'unsupported':\n      return READ_KINDS && path\n",
      ),
    ],
    tests: [wrappers('not asked about kinds')],
  },
  {
    name: 'leave the pixel offset in the nuclei',
    edits: [edit('services/legacy/nucseg/main.ts', '    subtractOffset(image, args.offset)\n', '')],
    tests: [wrappers('numbers of the same field')],
  },
  {
    name: 'leave the pixel offset in the features',
    edits: [
      edit('services/legacy/cellfeat-jobs/measure.ts', '    subtractOffset(image, offset)\n', ''),
    ],
    tests: [wrappers('numbers of the same field')],
  },
  {
    name: 'suspect no pixel offset',
    edits: [
      edit(
        'services/legacy/imageqc-http/worker.ts',
        'offset === 0 && suspectsOffset(image)',
        'offset < 0 && suspectsOffset(image)',
      ),
    ],
    tests: [wrappers('flagged where nobody states')],
  },
  {
    name: 'forget the pixel offset of the plan',
    edits: [
      edit(
        'coordinator/core/bind.ts',
        '.find((one) => one.name === channel.name)?.pixelOffset ?? 0',
        ".find((one) => one.name === '')?.pixelOffset ?? 0",
      ),
    ],
    tests: [{ file: 'test/core/pixel-offset.test.ts', only: 'what the plan states' }],
  },
  {
    name: 'announce what no step can read',
    edits: [
      edit(
        'ingest/resolve.ts',
        '  if (seen.header.refusal !== undefined) return seen.header.refusal\n',
        '',
      ),
    ],
    tests: [ingested('every unsupported kind')],
  },
  {
    name: 'take every row for the first frame',
    edits: [edit('ingest/csv.ts', "if (named !== '' && whole(named) !== 0)", "if (named === ' ')")],
    tests: [ingested('frames and series')],
  },
  {
    name: 'read a table whatever its size',
    edits: [edit('ingest/read.ts', 'if (status.size > bytesMax)', 'if (status.size < 0)')],
    tests: [ingested('too large are refused unread')],
  },
  {
    name: 'look back over the line of a plate description',
    edits: [
      edit(
        'ingest/htd.ts',
        '    const words = line.trim()\n',
        '    const words = line.trim()\n    if (!/^\\s*"([^"]+)"\\s*,?\\s*(.*)$/.test(line)) continue\n',
      ),
    ],
    tests: [linear('a plate description')],
  },
]
