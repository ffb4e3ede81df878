// Text from outside on its way to a terminal: nothing in it is obeyed, nothing splits a line, JSON stays what it was.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { create, toBinary } from '@bufbuild/protobuf'
import { connectNodeAdapter } from '@connectrpc/connect-node'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import {
  ControlService,
  ExplainResponseSchema,
  GetPlateResponseSchema,
  ListPlatesResponseSchema,
} from '#proto/wellspring/control/v1/control_pb.ts'
import { DeadLetterSchema } from '#proto/wellspring/record/v1/output_pb.ts'
import { deadLettersText } from '../../cli/dead-letters.ts'
import { paint, shown, visible } from '../../cli/output.ts'
import { jsonLogger } from '../../coordinator/logger.ts'
import { openScreen } from '../../dev/screen.ts'
import { jsonText, lines, oneLine } from '../../proto/plain-text.ts'
import { wellspring } from './process.ts'

/** What terminals obey or nobody sees: C0, DEL, C1, ANSI, bidirectional, zero width, separators, tags. */
const hostile = [
  '\u0000\u0007\u0008\t\r\n\u000b\u000c\u001b[2J\u001b]0;title\u0007\u001b[31m',
  '\u007f\u0080\u0085\u009b31m\u009d',
  '\u200b\u200d\u200e\u200f\u2028\u2029\u202a\u202e\u2060\u2066\u2069\ufeff\u00ad\u061c',
  '\u{e0001}\u{e0041}\ud800',
].join('x')

const ESCAPE = '\u001b'

const bad = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u

function isPlain(text: string, lineEnds = 0): void {
  assert.doesNotMatch(text, bad)
  assert.equal(text.split('\n').length - 1, lineEnds, text)
}

test('every control and unseen character is written out; what people write is left alone', () => {
  isPlain(oneLine(hostile))
  isPlain(lines(`a\nb${hostile}`), 2)
  assert.equal(
    oneLine('a\nb\t\u001b[31mc\u202ed\u{e0041}'),
    'a\\nb\\t\\u001b[31mc\\u202ed\\udb40\\udc41',
  )
  const ours = 'staurosporine 1 µM — Größe 漢字 עברית 😀 "\\'
  assert.equal(oneLine(ours), ours)
})

test('JSON says the same to a parser, and nothing to a terminal', () => {
  const value = { [hostile]: [hostile, { deep: hostile.toWellFormed() }], n: 1 }
  for (const indent of [undefined, 2]) {
    const text = jsonText(value, indent)
    isPlain(text, indent === undefined ? 0 : text.split('\n').length - 1)
    assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(value)))
  }
  let line = ''
  jsonLogger('x', (text) => void (line += text))('error', hostile, { [hostile]: hostile })
  isPlain(line, 1)
})

test('colours of ours pass, others do not; a value never brings a line of its own', () => {
  const green = paint({ colour: true, utf8: true }, 'green', 'ok')
  assert.equal(visible(`${green}\n`), `${green}\n`)
  assert.equal(visible('\u001b[8mhidden\u001b[1;31m'), '\\u001b[8mhidden\\u001b[1;31m')
  const value = { name: hostile, list: [hostile], by: new Map([[hostile, 1n]]), at: 1 }
  for (const text of [shown(value).name, ...shown(value).list, ...shown(value).by.keys()])
    isPlain(text)
  const letter = create(DeadLetterSchema, {
    entity: hostile,
    step: `${hostile};rm -rf ~`,
    failure: { class: ErrorClass.POISON, reason: '$(reboot)', message: hostile, hint: hostile },
  })
  const text = deadLettersText(shown([letter]), '')
  isPlain(text, text.split('\n').length - 1)
  assert.match(text, /--where 'step=.*;rm -rf ~,reason=\$\(reboot\)' --dry-run/)
  assert.equal(text.split('\n').length, 4)
})

test('what npm start draws is plain too', () => {
  for (const isTTY of [false, true]) {
    let drawn = ''
    const write = (text: string): void => void (drawn += text)
    const screen = openScreen({ isTTY, columns: 120, write })
    screen.note(hostile)
    screen.show({
      elapsedMs: 0,
      plates: [{ name: hostile, status: undefined }],
      services: [{ name: hostile, up: true }],
      firstVerdict: undefined,
    })
    const ours = new RegExp(`${ESCAPE}\\[(\\d*)[mAJ]`, 'g')
    assert.ok(!drawn.includes(`${ESCAPE}[2J`) && !drawn.includes(`${ESCAPE}]`))
    for (const line of drawn.split('\n')) isPlain(line.replaceAll(ours, ''))
  }
})

/** A coordinator that answers with nothing but hostile text. */
async function lyingCoordinator(t: TestContext): Promise<string> {
  const failure = { class: ErrorClass.POISON, reason: hostile, message: hostile, hint: hostile }
  const run = { entity: hostile, step: hostile, state: 'PARKED', failure }
  const attempts = [{ number: 1, replica: hostile, failure }]
  const texts = { entity: hostile, uri: hostile, state: hostile, next: hostile, traceId: hostile }
  const known = create(ExplainResponseSchema, {
    ...texts,
    notes: [hostile],
    runs: [{ ...run, attempts }],
  })
  const holes = [{ entity: hostile, reason: hostile, step: hostile }]
  const status = { entity: hostile }
  const handler = connectNodeAdapter({
    routes: (router) =>
      router.service(ControlService, {
        explain: ({ about }) =>
          about === 'many' ? create(ExplainResponseSchema, { candidates: [hostile] }) : known,
        listPlates: () => create(ListPlatesResponseSchema, { plates: [status] }),
        getPlate: () => create(GetPlateResponseSchema, { status, holes, runs: [run] }),
        getCoordinator: () => {
          throw new Error(hostile)
        },
      }),
  })
  const server = createServer(handler)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const address = server.address()
  assert.ok(address !== null && typeof address !== 'string')
  return `127.0.0.1:${address.port}`
}

test('the command line shows what a lying coordinator says, and obeys none of it', async (t) => {
  const env = { WELLSPRING_CONTROL: await lyingCoordinator(t) }
  for (const args of [['why', 'x'], ['plate', 'x'], ['plates']]) {
    const ran = await wellspring(args, env)
    assert.equal(ran.code, 0, ran.stderr)
    assert.ok(ran.stdout.includes('\\u001b[2J'), ran.stdout)
    assert.doesNotMatch(ran.stdout, bad)
    assert.doesNotMatch(ran.stdout, /^x/m, 'a text has begun a line')
    const json = await wellspring([...args, '-o', 'json'], env)
    assert.doesNotMatch(json.stdout, bad)
    assert.ok(json.stdout.includes(JSON.stringify(hostile.toWellFormed()).slice(1, 40)))
    assert.ok(JSON.stringify(JSON.parse(json.stdout)).includes('title'))
  }
  const many = await wellspring(['why', 'many'], env)
  assert.equal(many.code, 2)
  assert.doesNotMatch(many.stderr, bad)
  assert.equal(many.stderr.split('\n').length, 3)
})

test('names of files and words of a manifest are shown, and split no line', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'wellspring-names-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const plate = join(folder, 'P\u001b[2J\nwellspring: all is well')
  mkdirSync(plate)
  writeFileSync(join(plate, 'x_B02_s1_w1.TIF'), 'no image')
  const manifest = join(folder, 'm.csv')
  writeFileSync(
    manifest,
    `path,plate,well,site,channel\n"${plate}/\nx","\u001b]0;t\u0007",B02,1,DNA\n`,
  )
  for (const path of [plate, manifest, join(folder, '\u001b[31mnone\nx')]) {
    const ran = await wellspring(['ingest', path, '--experiment', 'E', '--dry-run'])
    assert.doesNotMatch(ran.stdout + ran.stderr, bad, path)
    assert.doesNotMatch(ran.stdout + ran.stderr, /^wellspring: all is well/m)
  }
  const unknown = await wellspring(['\u001b[31mverb'])
  assert.equal(unknown.code, 2)
  assert.doesNotMatch(unknown.stderr, bad)
})

test('a message of the wire is no text: its bytes are as they were', () => {
  const letter = create(DeadLetterSchema, { entity: 'a\nb', originValue: Uint8Array.of(27, 10) })
  const before = toBinary(DeadLetterSchema, letter)
  assert.deepEqual([...shown(letter).originValue], [27, 10])
  assert.deepEqual(toBinary(DeadLetterSchema, letter), before)
})
