// npx wellspring: the verbs, their flags and their exit codes. A verb's code is loaded when it is used.
import { Command, CommanderError, Option } from 'commander'
import { COMPLETENESS } from '../ingest/completeness.ts'
import { messageOf } from '../ingest/sighting.ts'
import { CliError, EXIT, EXIT_HELP } from './exit.ts'
import type { ContractFlags } from './contract.ts'
import { channels, duration, pixelOffsets, share, whole } from './flags.ts'
import type { IngestFlags } from './ingest.ts'
import { FORMATS, data, say, sayLines, type Format } from './output.ts'
import type { RedriveFlags } from './redrive.ts'
import type { ResultFlags } from './results.ts'
import type { TasksFlags } from './tasks.ts'
import { parseWhere, type Where } from './where.ts'

async function run(argv: readonly string[]): Promise<number> {
  // A reader that has seen enough ("| head") ends the command quietly.
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(EXIT.ok)
    })
  process.on('SIGINT', () => process.exit(EXIT.interrupted))
  try {
    await program().parseAsync(argv)
    return EXIT.ok
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
    say(`wellspring: ${messageOf(error)}`)
    if (error instanceof CliError) say(...error.lines.map((line) => `  ${line}`))
    return error instanceof CliError ? error.exit : EXIT.failed
  }
}

function program(): Command {
  const wellspring = new Command('wellspring')
    .description('Ingest plates, look at them, and check that every result is there exactly once.')
    .showHelpAfterError('(wellspring --help lists the verbs)')
    .addHelpText('after', EXIT_HELP)
    .exitOverride()
    .configureOutput({ writeOut: data, writeErr: sayLines })
  addIngest(wellspring)
  addLooks(wellspring)
  addRecords(wellspring)
  addRedrive(wellspring)
  addContract(wellspring)
  return wellspring
}

function verb(parent: Command, usage: string, description: string): Command {
  return parent
    .command(usage)
    .description(description)
    .addOption(
      new Option('-o, --output <form>', 'how data is printed').choices(FORMATS).default('text'),
    )
}

const withBrokers = (command: Command): Command =>
  command.option(
    '--brokers <list>',
    'Kafka brokers, host:port,… (default KAFKA_BROKERS, npm start)',
  )
const withAddress = (command: Command): Command =>
  command.option('--address <url>', 'coordinator (default WELLSPRING_CONTROL, npm start)')

type IngestOptions = Omit<IngestFlags, 'completeness'> & {
  readonly quorum: number
  readonly quorumAfter: number
  readonly deadline: number
}

function addIngest(parent: Command): void {
  const { quorum, quorumAfterMs, deadlineMs } = COMPLETENESS
  withBrokers(
    verb(parent, 'ingest', 'announce the plates of an ImageXpress folder or a CSV manifest'),
  )
    .argument('<path>', 'folder, or .csv: path,plate,well,site,channel or CellProfiler LoadData')
    .requiredOption('--experiment <name>', 'experiment that the plates belong to')
    .option('--root <dir>', 'where relative paths of a CSV start (default: its folder)')
    .option('--plate <barcode>', 'plate of images that do not tell theirs')
    .option('--acquisition <name>', 'which imaging of the plate this is (default: a1)')
    .option(
      '--channels <kinds>',
      'what channels show: w1=nuclei,w2=fluorescence,w3=brightfield',
      channels,
    )
    .option('--detector-ceiling <grey>', 'grey level at which the detector saturates', whole)
    .option(
      '--pixel-offset <grey>',
      'grey level of no light, where signed pixels are stored as unsigned ones: 32768, or w1=32768',
      pixelOffsets,
    )
    .option(
      '--quorum <share>',
      'share of members that is enough after --quorum-after',
      share,
      quorum,
    )
    .addOption(
      new Option('--quorum-after <time>', 'quiet time before the quorum is enough')
        .argParser(duration)
        .default(quorumAfterMs, `${quorumAfterMs / 1_000}s`),
    )
    .addOption(
      new Option('--deadline <time>', 'quiet time before a level closes with its holes')
        .argParser(duration)
        .default(deadlineMs, `${deadlineMs / 1_000}s`),
    )
    .option('--dry-run', 'show what would be announced', false)
    .action(async (path: string, options: IngestOptions) => {
      const { quorum: enough, quorumAfter, deadline, ...flags } = options
      const completeness = { quorum: enough, quorumAfterMs: quorumAfter, deadlineMs: deadline }
      const { ingest } = await import('./ingest.ts')
      await ingest(path, { ...flags, completeness })
    })
}

type Flags = { readonly output: Format; readonly address?: string; readonly brokers?: string }

function addLooks(parent: Command): void {
  withAddress(verb(parent, 'plates', 'all plates with their counts')).action(async (flags: Flags) =>
    (await import('./plates.ts')).plates(flags),
  )
  withBrokers(
    withAddress(verb(parent, 'tasks', 'all tasks: who runs them, what is not read, what is down')),
  )
    .option(
      '--accept-loss <topic/partition>',
      'let the task go on without input that is lost (may be given more than once)',
      (place: string, places: readonly string[]) => [...places, place],
      [],
    )
    .option('--reason <text>', 'why the loss is accepted, for the record', '')
    .option('--author <name>', 'who accepts it (default: you)')
    .action(async (flags: TasksFlags) => (await import('./tasks.ts')).tasks(flags))
  withAddress(
    verb(parent, 'services', 'the step services, replica by replica, and why one is not called'),
  ).action(async (flags: Flags) => (await import('./services.ts')).services(flags))
  withAddress(verb(parent, 'plate', 'one plate: heat map, verdict, holes by name'))
    .argument('<plate>', 'entity key, or any part of it that is unambiguous')
    .option('--time-point <t>', 'time point to draw (default: the first)', whole)
    .action(async (name: string, flags: Flags & { timePoint?: number }) =>
      (await import('./plates.ts')).plate(name, flags),
    )
  withAddress(verb(parent, 'well', 'one well: its counts, its steps, what is missing in it'))
    .argument('<well>', 'PLATE/WELL, or an entity key')
    .action(async (name: string, flags: Flags) => (await import('./plates.ts')).well(name, flags))
  withAddress(verb(parent, 'why', 'state, time, attempts and next step of one entity'))
    .argument('<about>', 'entity key or part of it, image file name, URI, or trace id')
    .action(async (about: string, flags: Flags) => (await import('./why.ts')).why(about, flags))
}

function addRecords(parent: Command): void {
  withBrokers(verb(parent, 'results', 'what the steps measured'))
    .argument('[entity]', 'only at or below this entity')
    .option('--step <name>', 'only this step')
    .option('--closes', 'closes of sites, wells and plates too', false)
    .option('--all-revisions', 'superseded revisions too', false)
    .action(async (within: string | undefined, flags: ResultFlags) =>
      (await import('./results.ts')).results(within ?? '', flags),
    )
  withBrokers(verb(parent, 'dead-letters', 'what was set aside, by cause'))
    .argument('[entity]', 'only at or below this entity')
    .option(
      '--where <fields>',
      'only step=…,reason=…,class=…,level=…,plate=…,well=…',
      parseWhere,
      noWhere,
    )
    .action(async (within: string | undefined, flags: Flags & { where: Where }) =>
      (await import('./dead-letters.ts')).deadLetters(within ?? '', flags),
    )
  withBrokers(verb(parent, 'verify', 'audit the topics: every planned step run ends exactly once'))
    .argument('[entity]', 'only at or below this entity key')
    .option('--wait <time>', 'go on looking until clean, so long at most', duration)
    .option(
      '--address <url>',
      'coordinator that says whether a task is down (default WELLSPRING_CONTROL, npm start)',
    )
    .action(async (within: string | undefined, flags: Flags & { wait?: number }) =>
      (await import('./verify.ts')).verify(within ?? '', { ...flags, waitMs: flags.wait ?? 0 }),
    )
}

const noWhere: Where = new Map()

function addRedrive(parent: Command): void {
  withBrokers(verb(parent, 'redrive', 'try parked step runs again'))
    .argument('[entity]', 'only at or below this entity')
    .option(
      '--where <fields>',
      'only step=…,reason=…,class=…,level=…,plate=…,well=…',
      parseWhere,
      noWhere,
    )
    .option('--reason <text>', 'why, for the record', '')
    .option('--dry-run', 'show what would be redriven', false)
    .option('-y, --yes', 'do not ask', false)
    .action(async (within: string | undefined, flags: RedriveFlags) =>
      (await import('./redrive.ts')).redrive(within ?? '', flags),
    )
}

function addContract(parent: Command): void {
  const contract = parent.command('contract').description('the contracts of step services')
  verb(contract, 'digest', 'the digest of a contract, which both ends of a call compare')
    .argument('<service>', 'full name of the service, or the end of it')
    .option('--descriptor-set <file>', 'from there: protoc --include_imports -o, or buf build -o')
    .option('--canonical', 'the text that the digest is made of', false)
    .action(async (service: string, flags: ContractFlags) =>
      (await import('./contract.ts')).contractDigestOf(service, flags),
    )
}

const exit = await run(process.argv)
// Sockets of a broker that is away must not keep the command alive; what was printed must be out.
process.stdout.write('', () => process.exit(exit))
