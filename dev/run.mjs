// Runs one of our TypeScript programs on our own Node, after setting up whatever a fresh clone still lacks:
//   node dev/run.mjs <program.ts> [args …]
// Every npm script goes through here. Plain JavaScript without dependencies, since it runs before they exist.
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readFileSync, symlinkSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findNode, isNewEnough, NODE_FROM, PACKAGED } from '../cli/own-node.mjs'

const NODE_MIN = 20
const JAVA_MIN = 17
const root = dirname(dirname(fileURLToPath(import.meta.url)))

main(process.argv.slice(2))

function main(args) {
  const [program] = args
  if (!program) stop('usage: node dev/run.mjs <program.ts> [args …]')
  checkNode()
  if (needsBroker(args)) checkJava()
  if (!packagesAreThere()) installPackages()
  linkCommand()
  if (!existsSync(join(root, 'proto', 'gen', 'wellspring'))) generateCode()
  run(args)
}

/** Replaces itself as far as Node can: same streams, signals passed on, same exit code. */
function run(args) {
  const node = findNode(root)
  const child = spawn(node, args, {
    cwd: root,
    stdio: 'inherit',
    env: {
      ...process.env,
      WELLSPRING_LAUNCHER: String(process.pid),
      // npm sets it: where the person stands, against which relative paths in arguments are meant.
      INIT_CWD: process.env.INIT_CWD ?? process.cwd(),
    },
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  endWithNpm(child)
  child.on('error', (error) => stop(`cannot run ${node}: ${error.message}`))
  child.on('exit', (code, signal) =>
    process.exit(signal ? 128 + (constants.signals[signal] ?? 0) : (code ?? 1)),
  )
}

/** npm that was killed with -9 cannot pass that on: notice that it is gone. */
function endWithNpm(child) {
  if (!process.env.npm_lifecycle_event) return
  const npm = npmProcess()
  if (npm === undefined) return
  const look = () => {
    try {
      process.kill(npm, 0)
    } catch {
      child.kill('SIGTERM')
    }
  }
  setInterval(look, 500).unref()
}

/** npm runs scripts through a shell, which may have made way for us: our parent, or its parent. */
function npmProcess() {
  const asked = spawnSync('ps', ['-o', 'ppid=,comm=', '-p', String(process.ppid)], {
    encoding: 'utf8',
  })
  const [, above, name] = /^\s*(\d+)\s+(.+?)\s*$/.exec(asked.stdout ?? '') ?? []
  if (name === undefined) return undefined
  return /(^|\/)(sh|dash|bash|zsh)$/.test(name) ? Number(above) : process.ppid
}

function checkNode() {
  const { node } = process.versions
  const place = `${process.platform}-${process.arch}`
  if (!PACKAGED.includes(place) && !isNewEnough(node))
    stop(
      `Node ${node} is too old: for ${place} the packages bring no Node of their own.`,
      `Install Node ${NODE_FROM.join('.')} or newer (nodejs.org).`,
    )
  if (Number(node.split('.')[0]) >= NODE_MIN) return
  stop(
    `Node ${node} is too old.`,
    `Install Node ${NODE_MIN} or newer (nodejs.org); the newer Node that Wellspring runs on comes with its packages.`,
  )
}

/** Programs that start a local Kafka, unless they are given one. */
function needsBroker([program, ...rest]) {
  if (process.env.KAFKA_BROKERS || process.env.WELLSPRING_TEST_BROKERS) return false
  if (rest.includes('--help')) return false
  if (program === 'dev/check.ts') return !rest.includes('--fast')
  return ['dev/start.ts', 'test/run.ts', 'test/bench/bench.ts', 'test/faults/faults.ts'].includes(
    program,
  )
}

function checkJava() {
  const version = javaVersion()
  const wayOut = [
    `Install a JDK ${JAVA_MIN} or newer, for instance: apt-get install openjdk-17-jre-headless maven · brew install openjdk@17 maven`,
    'Or use a Kafka that runs already: KAFKA_BROKERS=host:port npm start',
  ]
  if (version === undefined) stop('Java is missing: the local Kafka runs on it.', ...wayOut)
  if (version < JAVA_MIN)
    stop(`Java ${version} is too old: the local Kafka needs ${JAVA_MIN}.`, ...wayOut)
  if (jarsAreThere() || spawnSync('mvn', ['--version'], { stdio: 'ignore' }).status === 0) return
  stop('Maven is missing: it fetches the jars of the local Kafka, once.', ...wayOut)
}

function javaVersion() {
  const java = process.env.JAVA_HOME ? join(process.env.JAVA_HOME, 'bin', 'java') : 'java'
  const asked = spawnSync(java, ['-version'], { encoding: 'utf8' })
  const match = /version "(?:1\.)?(\d+)/.exec(`${asked.stderr ?? ''}${asked.stdout ?? ''}`)
  return match ? Number(match[1]) : undefined
}

function jarsAreThere() {
  return existsSync(join(root, '.wellspring', 'kafka-libs'))
}

/**
 * Whether node_modules holds what package-lock.json says. npm keeps a lock file of its own in there, written
 * last, so an interrupted installation does not count.
 */
function packagesAreThere() {
  const wanted = readLock('package-lock.json')
  const found = readLock(join('node_modules', '.package-lock.json'))
  if (!wanted) stop('package-lock.json is missing: this is not a whole clone.')
  if (!found || !findNode(root)) return false
  return Object.entries(wanted).every(
    ([path, entry]) =>
      path === '' || (found[path] ? isSame(found[path], entry) : entry.optional === true),
  )
}

function isSame(found, wanted) {
  return found.version === wanted.version && found.integrity === wanted.integrity
}

function readLock(path) {
  try {
    return JSON.parse(readFileSync(join(root, path), 'utf8')).packages
  } catch {
    return undefined
  }
}

function installPackages() {
  say('installing packages (npm ci) …')
  // Under npm, npm_execpath is npm's own script, to be run by the Node that runs us.
  const npm = process.env.npm_execpath
  const [command, ...first] = npm?.endsWith('.js') ? [process.execPath, npm] : ['npm']
  const flags = ['ci', '--no-audit', '--no-fund', '--loglevel=error']
  const done = spawnSync(command, [...first, ...flags], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (done.error) stop(`npm cannot be run: ${done.error.message}`, 'Install npm beside Node.')
  const wayOut = 'Check the network and the npm registry, then try again.'
  if (done.status !== 0) stop('npm ci failed (its message is above).', wayOut)
  if (findNode(root)) return
  // npm passes over an optional package in silence, also when it is not the one that the lock file names.
  stop(
    `npm ci installed no node-${process.platform}-${process.arch}: it could not be fetched, or was not what package-lock.json says.`,
    wayOut,
  )
}

/** npx looks for a command in node_modules/.bin, where npm links every package's but our own. */
function linkCommand() {
  const target = join(root, 'cli', 'wellspring.mjs')
  const link = join(root, 'node_modules', '.bin', 'wellspring')
  if (existsSync(link) || !existsSync(target)) return
  try {
    symlinkSync(join('..', '..', 'cli', 'wellspring.mjs'), link)
    chmodSync(target, 0o755)
  } catch (error) {
    if (error.code !== 'EEXIST')
      say(`cannot link ${link}: ${error.message}; use node cli/wellspring.mjs`)
  }
}

function generateCode() {
  say('generating code from proto/ …')
  const done = spawnSync(findNode(root), ['dev/gen.ts'], { cwd: root, stdio: 'inherit' })
  if (done.status !== 0) stop('generating code failed (its message is above).')
}

function say(text) {
  process.stderr.write(`wellspring: ${text}\n`)
}

function stop(...lines) {
  process.stderr.write(`wellspring: ${lines.join('\n            ')}\n`)
  process.exit(1)
}
