// What keeps hostile files, wrappers, pages and names to themselves, broken one guard at a time.
import type { Mutant } from './list.ts'

type Catcher = Mutant['tests'][number]

/** A mutation: what is broken, where, and by which tests it is noticed. */
function broken(
  name: string,
  file: string,
  [find, replace]: readonly [string, string],
  ...tests: readonly Catcher[]
): Mutant {
  return { name, edits: [{ file, find, replace }], tests }
}

const test = (file: string, only: string): Catcher => ({ file: `test/${file}.test.ts`, only })

const FILE = 'proto/artifact-file.ts'
const STORE = 'services/kit/store.ts'
const OUTPUTS = 'coordinator/calls/output-files.ts'
const SCAN = 'coordinator/trace/scan.ts'
const inputs = (only: string): Catcher => test('kit/artifacts', only)
const store = (only: string): Catcher => test('kit/store', only)
const outputs = (only: string): Catcher => test('calls/verify', only)

const files: readonly Mutant[] = [
  broken(
    'believe where a name leads, not where the open file is',
    FILE,
    [
      'if (leadsTo === undefined || !mayBe(leadsTo)) throw outside()',
      'if (leadsTo === undefined) throw outside()',
    ],
    inputs('exchanged for a link'),
  ),
  broken(
    'tell what lies behind a link that leads out',
    FILE,
    ['if (isNamed && isInside(await whereTo(announced), real))', 'if (isNamed)'],
    inputs('a link tells nothing'),
  ),
  {
    name: 'take for a file whatever is there',
    edits: [
      { file: FILE, find: 'if (!(await lstat(path)).isFile()) throw notAFile()', replace: '' },
      { file: FILE, find: 'if (!status.isFile()) throw notAFile()', replace: '' },
    ],
    tests: [outputs('pipes, sockets, devices'), inputs('no regular file')],
  },
  broken(
    'read what is hidden',
    FILE,
    ['withHidden ||\n', 'true ||\n'],
    inputs('an exception takes'),
  ),
  broken(
    'move what a link of the program leads to',
    STORE,
    [
      'if (real === undefined || !ours.some((one) => real === one || isBelow(real, one)))',
      'if (real === undefined)',
    ],
    store('follows no link of a program'),
  ),
  broken(
    'make places of the store through links',
    'services/kit/files.ts',
    ['if (there !== pathOf(depth))', 'if (there === "")'],
    store('follows no link of a program'),
    store('given other places'),
  ),
  broken(
    'let an entity lie where the store keeps its own',
    STORE,
    ['(first) => escapes[first] ?? first', '(first) => first'],
    store('no two entities share a place'),
  ),
  broken(
    'stop at what a program has closed to its own user',
    'services/kit/files.ts',
    [
      '    await rm(path, { recursive: true, force: true }).catch(async () => {\n',
      '    await rm(path, { recursive: true, force: true })\n    await Promise.resolve().then(async () => {\n',
    ],
    store('closed to its own user'),
  ),
  broken(
    'publish files of any size',
    STORE,
    ['if (sizeBytes > placing.bytesMax) throw tooLarge', 'if (sizeBytes < 0) throw tooLarge'],
    store('a file of bounded size'),
  ),
  broken(
    'give an answer to another input',
    'services/kit/binding.ts',
    ["asked.input === known.input ? undefined : ', with another input'", 'undefined'],
    test('kit/effects', 'answers only the entity'),
    test('kit/executions', 'bound to step'),
  ),
  broken(
    'give a program all that its wrapper knows',
    'services/kit/command.ts',
    ['...programEnvironment(process.env', '...process.env, ...programEnvironment(process.env'],
    test('kit/command', 'none of what its wrapper knows'),
  ),
  broken(
    'follow where a program redirects to',
    'services/kit/http.ts',
    ["redirect: 'manual'", "redirect: 'follow'"],
    test('kit/http', 'a redirection is an answer'),
  ),
]

const wrappers: readonly Mutant[] = [
  broken(
    'read outputs of any size',
    OUTPUTS,
    ['if (bytes > limits.artifactBytesMax)', 'if (bytes < 0)'],
    outputs('beyond the limit'),
  ),
  broken(
    'let large outputs hold up small ones',
    OUTPUTS,
    ['bytes > limits.smallBytesMax ? lanes.large : lanes.small', 'lanes.small'],
    outputs('holds up no small one'),
  ),
  broken(
    'wait for a file system with every thread',
    OUTPUTS,
    ['if (isLate) stuck -= 1', 'if (isLate) stuck -= 1\n        if (isLate) return'],
    outputs('does not answer'),
  ),
  broken(
    'tell what was found instead of an output',
    OUTPUTS,
    [
      'differs in size or SHA-256 from',
      'has ${file.sizeBytes} bytes and differs in size or SHA-256 from',
    ],
    outputs('missing, short, altered'),
  ),
]

const http = (only: string): Catcher => test('control/expected', only)
const scanned = (only: string): Catcher => test('trace/scan', only)

const ports: readonly Mutant[] = [
  broken(
    'answer to any name',
    'coordinator/expected.ts',
    ['if (!isExpectedHost(host, hosts))', 'if (host === "")'],
    http('made to lead here'),
  ),
  broken(
    'answer to any page',
    'coordinator/expected.ts',
    ['if (origin !== undefined && !isSame(origin, host))', 'if (origin === "")'],
    http('another origin'),
  ),
  broken(
    'let connections be held for nothing',
    'coordinator/listen.ts',
    ['server.maxConnections = limits.socketsMax\n', ''],
    http('beyond the limit'),
  ),
  broken(
    'build what a post of spans says before it is looked through',
    SCAN,
    ['if (fields > scanLimits.fieldsMax)', 'if (fields < 0)'],
    scanned('refused for good'),
  ),
  broken(
    'take any number of spans',
    SCAN,
    ['if (this.spans.length + this.rejected >= scanLimits.spansMax)', 'if (this.rejected < 0)'],
    scanned('refused for good'),
  ),
  broken(
    'take ids of any length',
    SCAN,
    ["if (length !== wanted && !(name === 'parent_span_id' && length === 0))", 'if (length < 0)'],
    scanned('out of bounds is left out'),
  ),
  broken(
    'take text that is none',
    SCAN,
    ['if (isText && !this.#isText(slice))', 'if (isText && frame.seen < 0)'],
    scanned('out of bounds is left out'),
  ),
  broken(
    'merge what comes twice',
    SCAN,
    ['if ((frame.seen & field.once) !== 0)', 'if (frame.seen < 0)'],
    scanned('each in its own way'),
  ),
  broken(
    'repeat a resource for every trace without end',
    'coordinator/trace/divide.ts',
    ['if (bytes > divideLimits.outputBytesMax)', 'if (bytes < 0)'],
    scanned('refused for good'),
  ),
  broken(
    'write a trace as one record, whatever its size',
    'coordinator/trace/divide.ts',
    ['if (last && bytes + added > divideLimits.recordBytesMax)', 'if (last && bytes < 0)'],
    scanned('records that can be written'),
  ),
  broken(
    'take any number of posts at once',
    'coordinator/trace/otlp.ts',
    ['if (this.#posts >= this.#limits.postsMax) throw busy()', ''],
    test('trace/otlp', 'asked to come again'),
  ),
  broken(
    'follow local.json anywhere',
    'cli/environment.ts',
    ['if (isHere(place)) return place', 'return place'],
    test('cli/main', 'came with a folder'),
  ),
]

const text: readonly Mutant[] = [
  broken(
    'let a value bring a line of its own',
    'cli/output.ts',
    [
      "if (typeof value === 'string') return oneLine(value)",
      "if (typeof value === 'string') return value",
    ],
    test('cli/output', 'a line of its own'),
  ),
  broken(
    'let a terminal obey what it is shown',
    'cli/output.ts',
    ['(at % 2 === 1 ? part : lines(part))', '(at % 2 === 1 ? part : part)'],
    test('cli/output', 'colours of ours'),
  ),
  broken(
    'log what nobody can see',
    'coordinator/logger.ts',
    ['write(`${jsonText({', 'write(`${JSON.stringify({'],
    test('cli/output', 'JSON says the same'),
  ),
]

export const hostileMutants: readonly Mutant[] = [...files, ...wrappers, ...ports, ...text]
