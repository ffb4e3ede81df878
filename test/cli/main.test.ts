import assert from 'node:assert/strict'
import { spawn, execFileSync } from 'node:child_process'
import { chmod, chown, copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { realSet } from '../ingest/data.ts'
import { LAUNCHER, wellspring } from './process.ts'

/** A port that refuses: nobody listens on 1 of the loopback. */
const NOBODY = '127.0.0.1:1'
const imagexpress = realSet('imagexpress-9987-3434')
const bbbc039 = realSet('bbbc039-u2os-nuclei')

const usage: readonly [string[], RegExp][] = [
  [[], /Usage: wellspring/],
  [['ingst'], /unknown command 'ingst'[^]*Did you mean ingest/],
  [['plates', '--adress', 'x'], /unknown option '--adress'[^]*Did you mean --address/],
  [['plates', '-o', 'xml'], /'xml' is invalid. Allowed choices are text, json, jsonl/],
  [['plate'], /missing required argument 'plate'/],
  [['ingest', '.'], /required option '--experiment <name>' not specified/],
  [['ingest', '.', '--experiment', 'E', '--quorum', '2'], /want a share from 0 to 1/],
  [['ingest', '.', '--experiment', 'E', '--deadline', '5'], /want a time such as 500ms/],
  [['ingest', '.', '--experiment', 'E', '--channels', 'w1'], /is not NAME=KIND/],
  [['verify', '--wait', 'long'], /want a time such as/],
  [['redrive', '--brokers', NOBODY], /say what to redrive/],
  [['redrive', '--where', 'colour=red'], /"colour=red" is not FIELD=VALUE/],
]
for (const [args, message] of usage)
  test(`wrong use, exit 2: wellspring ${args.join(' ')}`, async () => {
    const ran = await wellspring(args)
    assert.equal(ran.code, 2, ran.stderr)
    assert.match(ran.stderr, message)
    assert.equal(ran.stdout, '')
  })

test('help goes to stdout with exit 0 and tells the exit codes', async () => {
  const ran = await wellspring(['--help'])
  assert.equal(ran.code, 0)
  for (const verb of [
    'ingest',
    'plates',
    'services',
    'plate',
    'well',
    'why',
    'results',
    'dead-letters',
    'redrive',
    'verify',
  ])
    assert.match(ran.stdout, new RegExp(`^  ${verb} `, 'm'))
  assert.match(ran.stdout, /Exit codes: 0 ok/)
})

const away: readonly string[][] = [
  ['plates', '--address', `http://${NOBODY}`],
  ['plate', 'P1', '--address', NOBODY],
  ['well', 'P1/B07', '--address', NOBODY],
  ['why', 'x.tif', '--address', NOBODY],
  ['verify', '--brokers', NOBODY],
  ['results', '--brokers', NOBODY],
  ['dead-letters', '--brokers', NOBODY],
  ['redrive', 'E/P1/a1', '--brokers', NOBODY],
]
for (const args of away)
  test(`nobody there, exit 5: wellspring ${args.join(' ')}`, async () => {
    const ran = await wellspring(args)
    assert.equal(ran.code, 5, ran.stderr)
    assert.match(ran.stderr, /cannot be reached .*try: npm start/)
    assert.equal(ran.stdout, '')
  })

test('brokers that are no addresses are a mistake of use, not a broker that is away', async () => {
  const ran = await wellspring(['verify', '--brokers', 'localhost'])
  assert.equal(ran.code, 2)
  assert.match(ran.stderr, /broker "localhost" is not host:port/)
})

test('no address known, exit 5 with the ways to say one', async () => {
  const plates = await wellspring(['plates'])
  assert.equal(plates.code, 5)
  assert.match(plates.stderr, /npm start, or say --address .*WELLSPRING_CONTROL/)
  const verify = await wellspring(['verify'])
  assert.equal(verify.code, 5)
  assert.match(verify.stderr, /npm start, or say --brokers .*KAFKA_BROKERS/)
})

test('the environment says where the broker is, a flag says it louder', async () => {
  const env = { KAFKA_BROKERS: '127.0.0.1:2' }
  assert.match((await wellspring(['verify'], env)).stderr, /Kafka at 127\.0\.0\.1:2/)
  assert.match(
    (await wellspring(['verify', '--brokers', NOBODY], env)).stderr,
    /Kafka at 127\.0\.0\.1:1 /,
  )
})

test('what npm start wrote down is used where nothing else is said', async () => {
  const file = join(await mkdtemp(join(tmpdir(), 'wellspring-local-')), 'local.json')
  const env = { WELLSPRING_LOCAL: file }
  const local = { brokers: ['127.0.0.1:3'], control: 'http://127.0.0.1:4' }
  await writeFile(file, JSON.stringify(local), { mode: 0o600 })
  assert.match((await wellspring(['verify'], env)).stderr, /Kafka at 127\.0\.0\.1:3 cannot/)
  assert.match(
    (await wellspring(['plates'], env)).stderr,
    /coordinator at http:\/\/127\.0\.0\.1:4 /,
  )
  await writeFile(file, '{')
  const broken = await wellspring(['plates'], env)
  assert.equal(broken.code, 1)
  assert.match(broken.stderr, /local\.json is no JSON: run npm start again/)
})

test('a local.json that came with a folder leads nowhere else, and nobody else writes it', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'wellspring-foreign-'))
  t.after(() => rm(folder, { recursive: true }))
  await mkdir(join(folder, '.wellspring'))
  const file = join(folder, '.wellspring', 'local.json')
  const cwd = folder
  const env = { WELLSPRING_LOCAL: '' }
  const local = { brokers: ['127.0.0.1:3'], control: 'http://localhost:4', topicPrefix: 'x.' }
  const write = (more: object): Promise<void> =>
    writeFile(file, JSON.stringify({ ...local, ...more }), { mode: 0o600 })
  const far = [
    'http://evil.example:80',
    'http://127.0.0.1.evil.example',
    'http://127.0.0.1@evil.example',
    'evil.example:1',
    'http://10.0.0.1',
    'http://[::ffff:10.0.0.1]:1',
    'http://0.0.0.0:1',
    'file:///etc/passwd',
    '',
    5,
  ]
  for (const control of far) {
    await write({ control })
    const ran = await wellspring(['plates'], env, cwd)
    assert.ok(ran.code === 4 || (control === '' && ran.code === 5), `${control}: ${ran.stderr}`)
    if (control !== '') assert.match(ran.stderr, /local\.json .* is not followed: say --address/)
  }
  await write({ brokers: ['127.0.0.1:3', 'evil.example:9092'] })
  const read = await wellspring(['verify'], env, cwd)
  assert.equal(read.code, 4)
  assert.match(read.stderr, /leads to evil.example:9092, which is not this machine/)
  // What it does not lead to is not asked of it.
  assert.match(
    (await wellspring(['plates'], env, cwd)).stderr,
    /coordinator at http:\/\/localhost:4 /,
  )
  const said = await wellspring(['verify', '--brokers', NOBODY], env, cwd)
  assert.match(said.stderr, /Kafka at 127\.0\.0\.1:1 /)
  await write({})
  await chmod(file, 0o622)
  assert.match((await wellspring(['plates'], env, cwd)).stderr, /can be written by other users/)
  await chmod(file, 0o600)
  if (process.getuid?.() === 0) {
    await chown(file, 12_345, 12_345)
    const foreign = await wellspring(['plates'], env, cwd)
    assert.equal(foreign.code, 4)
    assert.match(foreign.stderr, /belongs to another user \(12345\), and is not followed/)
  }
  await rm(file)
  execFileSync('mkfifo', [file])
  const waited = await wellspring(['plates'], env, cwd)
  assert.equal(waited.code, 4)
  assert.match(waited.stderr, /is no file of at most/)
})

test('ingest --dry-run shows plan and images and asks no broker', imagexpress.needs, async () => {
  const ran = await wellspring([
    'ingest',
    imagexpress.path,
    '--experiment',
    'E',
    '--dry-run',
    '-o',
    'jsonl',
  ])
  assert.equal(ran.code, 0, ran.stderr)
  const [line] = ran.stdout.split('\n')
  const told = JSON.parse(line ?? '') as { planned: number; announced: number; images: unknown[] }
  assert.deepEqual([told.planned, told.announced, told.images.length], [48, 0, 36])
})

test(
  'ingest: some refused, exit 1, the others go on; refusals are data too',
  bbbc039.needs,
  async () => {
    const folder = join(bbbc039.path, 'images')
    const ran = await wellspring(['ingest', folder, '--experiment', 'E', '--dry-run', '-o', 'json'])
    assert.equal(ran.code, 1)
    assert.match(ran.stderr, /8 of 22 found were refused/)
    const { items } = JSON.parse(ran.stdout) as { items: { refused?: string; plate?: string }[] }
    assert.equal(items.filter((item) => item.refused !== undefined).length, 8)
    assert.equal(items.filter((item) => item.plate !== undefined).length, 9)
    const all = await wellspring([
      'ingest',
      folder,
      '--experiment',
      'E',
      '--plate',
      'X',
      '--dry-run',
    ])
    assert.equal(all.code, 0, all.stderr)
  },
)

test('ingest without a broker is exit 5, and of nothing exit 1', imagexpress.needs, async () => {
  const ran = await wellspring([
    'ingest',
    imagexpress.path,
    '--experiment',
    'E',
    '--brokers',
    NOBODY,
  ])
  assert.equal(ran.code, 5)
  assert.equal((await wellspring(['ingest', '/nowhere', '--experiment', 'E', '--dry-run'])).code, 1)
})

test('a reader that stops reading ends the command quietly', imagexpress.needs, async () => {
  const args = ['ingest', imagexpress.path, '--experiment', 'E', '--dry-run']
  const child = spawn(process.execPath, [LAUNCHER, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.destroy()
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  assert.equal(await text(child.stderr), '')
  assert.equal(await ended, 0)
})

test('before npm install the launcher says what to do', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'wellspring-launcher-'))
  await mkdir(join(folder, 'cli'))
  for (const file of ['wellspring.mjs', 'own-node.mjs'])
    await copyFile(join(dirname(LAUNCHER), file), join(folder, 'cli', file))
  const child = spawn(process.execPath, [join(folder, 'cli/wellspring.mjs'), 'plates'])
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  assert.match(await text(child.stderr), /not installed yet: run "npm start"/)
  assert.equal(await ended, 1)
})
