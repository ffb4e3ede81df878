// The looking verbs as processes, against a control API over hand-made state.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { ServiceStatusSchema } from '#proto/wellspring/control/v1/control_pb.ts'
import { serveControl } from '../../coordinator/control/server.ts'
import { traceId } from '../../coordinator/core/keys.ts'
import { exampleTask, noon, pipeline } from '../control/plate.ts'
import { wellspring } from './process.ts'

const task = exampleTask()
exampleTask('E1/P2/a1', {}, task)
let services = [create(ServiceStatusSchema, { service: 'echo' })]
const server = await serveControl({
  listen: '127.0.0.1:0',
  model: {
    application: 'test',
    topicPrefix: 'test.',
    assigned: () => [],
    inputs: () => Promise.resolve([]),
    instance: 'c0',
    pipeline,
    tasks: 1,
    owned: () => new Map([[0, task]]),
    services: () => services,
    nowMs: () => noon + 18_000,
  },
  owners: () => new Map(),
  logger: () => {},
})
after(() => server.close())
const env = { WELLSPRING_CONTROL: server.address }

test('plates: a table, and the same as JSON', async () => {
  const ran = await wellspring(['plates'], env)
  assert.equal(ran.code, 0, ran.stderr)
  const [head, ...rows] = ran.stdout.trimEnd().split('\n')
  assert.match(head ?? '', /^PLATE +EXPECTED +ARRIVED +DONE/)
  assert.deepEqual(
    rows.map((row) => row.split(/\s+/, 4)),
    [
      ['E1/P1/a1', '4', '3', '2'],
      ['E1/P2/a1', '4', '3', '2'],
    ],
  )
  const json = JSON.parse((await wellspring(['plates', '-o', 'json'], env)).stdout) as {
    items: { entity: string }[]
    nextPageToken: string
  }
  assert.deepEqual(
    json.items.map((item) => item.entity),
    ['E1/P1/a1', 'E1/P2/a1'],
  )
  assert.equal(json.nextPageToken, '')
  const lines = (await wellspring(['plates', '-o', 'jsonl'], env)).stdout.trimEnd().split('\n')
  assert.equal(lines.length, 2)
})

const right = create(ServiceStatusSchema, {
  service: 'lab.v1.CountService',
  address: '127.0.0.1:1',
  state: 'CHECKED',
  inFlight: 2,
  queued: 5,
  limit: 8,
  version: '1.2',
})
const odd = create(ServiceStatusSchema, {
  service: 'lab.v1.CountService',
  address: '127.0.0.1:2',
  state: 'EXCLUDED',
  queued: 5,
  limit: 8,
  problem:
    'lab.v1.CountService at 127.0.0.1:2 serves a contract that does not fit: digest \u001b[2J',
})

test('services: replica by replica, and why one is not called; plates say so too', async (t) => {
  const before = services
  t.after(() => (services = before))
  services = [right, odd]
  const ran = await wellspring(['services'], env)
  assert.equal(ran.code, 0, ran.stderr)
  const [head, first, second, note, ...rest] = ran.stdout.trimEnd().split('\n')
  assert.match(head ?? '', /^SERVICE +REPLICA +STATE +IN FLIGHT +QUEUED +LIMIT +VERSION$/)
  assert.match(first ?? '', /^lab\.v1\.CountService +127\.0\.0\.1:1 +CHECKED +2 +5 +8 +1\.2$/)
  assert.match(second ?? '', /^lab\.v1\.CountService +127\.0\.0\.1:2 +EXCLUDED +0 +5 +8 +-$/)
  assert.match(note ?? '', /^not called: lab\.v1\.CountService at 127\S+ serves .*\\u001b\[2J$/)
  assert.deepEqual(rest, [])
  const plates = await wellspring(['plates'], env)
  assert.match(plates.stderr, /^not called: lab\.v1\.CountService at .*\\u001b\[2J$/m)
  const json = JSON.parse((await wellspring(['services', '-o', 'json'], env)).stdout) as {
    items: { state: string; problem?: string }[]
  }
  assert.deepEqual(
    json.items.map(({ state, problem }) => [state, problem !== undefined]),
    [
      ['CHECKED', false],
      ['EXCLUDED', true],
    ],
  )
  services = [odd]
  const stuck = await wellspring(['plates'], env)
  assert.match(
    stuck.stderr,
    /^lab\.v1\.CountService has no replica that can be called: 5 calls wait$/m,
  )
})

test('plate: counts, a heat map without colour, the next command', async () => {
  const ran = await wellspring(['plate', 'P1'], env)
  assert.equal(ran.code, 0, ran.stderr)
  assert.match(ran.stdout, /^E1\/P1\/a1 {2}open/)
  assert.match(ran.stdout, /expected 4 {3}arrived 3 \(75\.0%\)/)
  assert.match(ran.stdout, /^ H$/m)
  assert.match(ran.stdout, /^next: npx wellspring why E1\/P1\/a1$/m)
  assert.equal(ran.stdout.includes('\u001b'), false)
})

test('well: named loosely, answered for the well', async () => {
  for (const name of ['P1/b7', 'P1/B07', 'P1/a1/r02c07', 'E1/P1/a1/B07/t0']) {
    const ran = await wellspring(['well', name], env)
    assert.equal(ran.code, 0, ran.stderr)
    assert.match(ran.stdout, /^E1\/P1\/a1\/B07\/t0 .*well/)
  }
})

test('well of a plate is a mistake of use', async () => {
  const ran = await wellspring(['well', 'E1/P1/a1'], env)
  assert.equal(ran.code, 2, ran.stderr)
  assert.match(ran.stderr, /is a plate: say PLATE\/WELL/)
})

const image = 'E1/P1/a1/B07/t0/s1/z0/DNA'
for (const about of [image, traceId('test', image, 1)])
  test(`why finds an image by ${about}`, async () => {
    const ran = await wellspring(['why', about], env)
    assert.equal(ran.code, 0, ran.stderr)
    assert.equal(ran.stdout.startsWith(`${image}  `), true, ran.stdout)
    assert.match(ran.stdout, /time {3}[0-9.]+ s = work .* \+ queue .* \+ back-off .* \+ siblings/)
    assert.equal(ran.stdout.includes('+ other'), false)
  })

test('why: a file name on two plates is ambiguous, exit 2 with the candidates', async () => {
  const ran = await wellspring(['why', 'B07_s1_DNA.tif'], env)
  assert.equal(ran.code, 2)
  assert.match(ran.stderr, /is ambiguous: say which\n {2}E1\/P1\/a1.*\n {2}E1\/P2\/a1/)
  assert.equal(ran.stdout, '')
})

for (const args of [
  ['why', 'nothing.tif'],
  ['plate', 'E9/P9/a9'],
  ['well', 'E9/P9/a9/B07/t0'],
])
  test(`unknown, exit 3: wellspring ${args.join(' ')}`, async () => {
    const ran = await wellspring(args, env)
    assert.equal(ran.code, 3, ran.stderr)
    assert.match(ran.stderr, /nothing/)
  })

test('an ambiguous plate is exit 2', async () => {
  const ran = await wellspring(['plate', 'E1'], env)
  assert.equal(ran.code, 2)
  assert.match(ran.stderr, /may be any of E1\/P1\/a1, E1\/P2\/a1/)
})
