// Java and the jars of Kafka: found, checked and fetched once through Maven, with a way out in every error.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ensureJars, type JarSet } from './jars.ts'

const run = promisify(execFile)
const project = join(import.meta.dirname, '..', '..')

export const jarSets = {
  'kafka-libs': jarSet('kafka-libs', import.meta.dirname),
  'judge-libs': jarSet('judge-libs', join(import.meta.dirname, 'judge')),
} as const

const limits = { javaVersionMin: 17, fetchMs: 600_000, outputBytesMax: 256 * 1024 * 1024 } as const

export const JVM_FLAGS = [
  '-Xms128m',
  '-Xmx512m',
  '-XX:+UseSerialGC',
  '-XX:TieredStopAtLevel=1',
  '-Xshare:auto',
  '-Djava.awt.headless=true',
  `-Dlog4j2.configurationFile=${join(import.meta.dirname, 'log4j2.properties')}`,
] as const

/**
 * Class path of a set of jars, fetched into `.wellspring/` when they are missing or their pom has changed, and compared
 * with the recorded checksums before the first use. Rejects with one message that says what to do.
 */
export async function fetchJars(set: keyof typeof jarSets): Promise<string> {
  return ensureJars(jarSets[set], copyJars)
}

function jarSet(name: string, source: string): JarSet {
  return {
    pom: join(source, 'pom.xml'),
    sums: join(source, 'jars.sha256'),
    directory: join(project, '.wellspring', name),
  }
}

/** Runs a Java main to its end and returns its standard output. Rejects with its error output. */
export async function runJava(args: readonly string[], timeoutMs = 60_000): Promise<string> {
  const java = await findJava()
  const { stdout } = await run(java, [...JVM_FLAGS, ...args], {
    timeout: timeoutMs,
    maxBuffer: limits.outputBytesMax,
  })
  return stdout
}

/** Lets Maven copy the jars of a pom into a directory. Rejects with one message that says what to do. */
export async function copyJars(pom: string, directory: string): Promise<void> {
  // The plugin's version is in the pom; --strict-checksums refuses what differs from its repository's checksum.
  const goal = 'org.apache.maven.plugins:maven-dependency-plugin:copy-dependencies'
  const args = [
    '-q',
    '-B',
    '--strict-checksums',
    '-f',
    pom,
    goal,
    '-DincludeScope=runtime',
    `-DoutputDirectory=${directory}`,
  ]
  try {
    await run('mvn', args, { timeout: limits.fetchMs })
  } catch (error) {
    if (isMissing(error)) {
      throw new Error(
        'The local Kafka is fetched by Maven, and `mvn` is not on the PATH: install it ' +
          '(Debian: apt install maven, macOS: brew install maven), or set KAFKA_BROKERS to a running Kafka.',
      )
    }
    const output = (error as { stdout?: string }).stdout ?? ''
    const line = output.split('\n').find((text) => text.includes('ERROR')) ?? String(error)
    throw new Error(
      `Maven could not fetch Kafka: ${line.trim()}. Check the network, a proxy or mirror in ` +
        '~/.m2/settings.xml, or set KAFKA_BROKERS to a running Kafka.',
    )
  }
}

/** Path of a Java that is new enough. */
export async function findJava(): Promise<string> {
  const home = process.env['JAVA_HOME']
  const java = home === undefined || home === '' ? 'java' : join(home, 'bin', 'java')
  const remedy =
    `Kafka needs Java ${limits.javaVersionMin} or newer: install it (Debian: apt install ` +
    'openjdk-17-jre-headless, macOS: brew install openjdk), point JAVA_HOME at it, ' +
    'or set KAFKA_BROKERS to a running Kafka.'
  const { stderr } = await run(java, ['-version']).catch((error: unknown) => {
    throw new Error(
      `\`${java}\` ${isMissing(error) ? 'is not there' : `fails: ${String(error)}`}. ${remedy}`,
    )
  })
  const version = /version "(?:1\.)?(\d+)/.exec(stderr)?.[1]
  if (Number(version) < limits.javaVersionMin)
    throw new Error(`\`${java}\` is Java ${version}. ${remedy}`)
  return java
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
