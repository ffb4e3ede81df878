// House rules that no linter knows. A failing rule names the file and what to do.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { test } from 'node:test'

const root = join(import.meta.dirname, '..')
const limits = { fileLines: 400, readmeLines: 80, fileBytes: 1_000_000 } as const

/** Tracked files and those that would be: not ignored, still there. */
const files = execFileSync(
  'git',
  ['ls-files', '--cached', '--others', '--exclude-standard', '-z'],
  {
    cwd: root,
    encoding: 'utf8',
  },
)
  .split('\0')
  .filter((file) => file !== '' && statSync(join(root, file), { throwIfNoEntry: false })?.isFile())

const SELF = 'test/tidy.test.ts'
const text = (file: string): string => readFileSync(join(root, file), 'utf8')
const isOurs = (file: string): boolean =>
  !file.includes('/gen/') && !file.startsWith('node_modules/')
const code = files.filter((file) => /\.(ts|mjs)$/.test(file) && isOurs(file))
const production = code.filter((file) =>
  /^(coordinator|services|ingest|cli|formats|packages)\//.test(file),
)

function none(problems: readonly string[], remedy: string): void {
  assert.equal(problems.length, 0, `${remedy}:\n  ${problems.join('\n  ')}`)
}

/** Lines of files for which a pattern holds, as file:line; comments do not count unless asked for. */
function linesWith(pattern: RegExp, among: readonly string[], comments = false): string[] {
  return among.flatMap((file) =>
    text(file)
      .split('\n')
      .flatMap((line, i) =>
        pattern.test(line) && (comments || !isComment(line))
          ? [`${file}:${i + 1}: ${line.trim()}`]
          : [],
      ),
  )
}

const isComment = (line: string): boolean => /^\s*(\/\*|\*|\/\/)/.test(line)

test('no file of code is longer than 400 lines', () => {
  const long = code
    .map((file) => ({ file, lines: text(file).split('\n').length - 1 }))
    .filter(({ lines }) => lines > limits.fileLines)
  none(
    long.map(({ file, lines }) => `${file}: ${lines}`),
    'one subject a file: split it',
  )
})

test('the README of a room is not longer than 80 lines', () => {
  const long = files
    .filter((file) => file.endsWith('/README.md') && isOurs(file))
    .map((file) => ({ file, lines: text(file).split('\n').length - 1 }))
    .filter(({ lines }) => lines > limits.readmeLines)
  none(
    long.map(({ file, lines }) => `${file}: ${lines}`),
    'say less',
  )
})

type Import = { readonly file: string; readonly target: string }

/** What a file imports: a path of the repository, or the name of a package. */
function importsOf(file: string): Import[] {
  const found = text(file).matchAll(
    /(?:^|\n)\s*(?:import|export)[^'"]*?from\s*['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]/g,
  )
  return [...found].map((match) => {
    const name = match[1] ?? match[2] ?? ''
    return { file, target: targetOf(file, name) }
  })
}

function targetOf(file: string, name: string): string {
  if (name.startsWith('.')) return normalize(join(dirname(file), name))
  return name.replace(/^@wellspring\/proto\//, '#proto/').replace(/^@wellspring\//, 'packages/')
}

const imports = code.flatMap(importsOf)

function direction(from: RegExp, isAllowed: (target: string) => boolean, remedy: string): void {
  const ours = imports.filter(({ file }) => from.test(file))
  assert.ok(ours.length > 0, `no file matches ${from}`)
  const wrong = ours.filter(({ target }) => !isAllowed(target))
  none(
    wrong.map(({ file, target }) => `${file} imports ${target}`),
    remedy,
  )
}

test('core decides, and imports only core, contracts and digests', () => {
  direction(
    /^coordinator\/core\//,
    (target) =>
      /^(coordinator\/core|packages\/lab)\//.test(target) ||
      /^(#proto\/|@bufbuild\/|node:crypto$)/.test(target),
    'pass it in as an argument, or move the code out of core',
  )
})

test('what a pipeline is knows nothing of plates, and no decision asks a view', () => {
  direction(
    /^coordinator\/core\/pipeline\//,
    (target) =>
      target.startsWith('coordinator/core/pipeline/') || /^(#proto\/|@bufbuild\/)/.test(target),
    'core/pipeline is data and its checks',
  )
  direction(
    /^coordinator\/core\/[^/]+\.ts$/,
    (target) => !target.startsWith('coordinator/core/view/'),
    'core/view answers people: decide without it',
  )
})

test('the engine of a task knows Kafka by its port, and no room above it', () => {
  direction(
    /^coordinator\/task\//,
    (target) =>
      !/^coordinator\/(control|main|config|spans)/.test(target) &&
      !/^(kafkajs$|@grpc\/|coordinator\/log\/kafka)/.test(target),
    'go through log/port.ts and calls/port.ts',
  )
})

test('the coordinator imports no service, command line, ingest, dev program or test', () => {
  direction(
    /^coordinator\//,
    (target) => !/^(services|cli|ingest|dev|test)\//.test(target),
    'the coordinator stands alone',
  )
})

test('services import neither the coordinator nor anything else of ours', () => {
  direction(
    /^services\//,
    (target) => !/^(coordinator|cli|ingest|dev|test)\//.test(target),
    'a service knows its contract and the kit',
  )
})

test('formats import nothing but Node', () => {
  direction(
    /^formats\//,
    (target) => /^(formats\/|node:)/.test(target),
    'whoever reads files imports it, so it stands alone',
  )
})

test('packages import nothing of ours but packages and contracts, and lab nothing of Node', () => {
  direction(
    /^packages\//,
    (target) => !/^(coordinator|services|cli|ingest|dev|test|formats)\//.test(target),
    'a package stands alone: pass it in as an argument',
  )
  direction(
    /^packages\/lab\//,
    (target) => target.startsWith('packages/lab/') || /^(#proto\/|@bufbuild\/)/.test(target),
    'a browser may import it',
  )
})

test('legacy programs know nothing of contracts or the kit', () => {
  direction(
    /^services\/legacy\//,
    (target) =>
      !/^(#proto\/|services\/(?!legacy\/)|@bufbuild\/|@connectrpc\/|@grpc\/)/.test(target),
    'a legacy program is left as it was',
  )
})

test('production imports no dev program and no test', () => {
  direction(
    /^(coordinator|services|ingest|cli|formats|packages)\//,
    (target) => !/^(dev|test)\//.test(target),
    'dev/ and test/ are not installed in production',
  )
})

test('judges know the contracts, and nothing of what they judge', () => {
  direction(
    /^test\/faults\/(checks\/|(evidence|collect|reader|segments|pipelines)\.ts$)/,
    (target) => !/^(coordinator|cli|ingest|services)\//.test(target),
    'write it anew from the contract: a shared mistake would be judged right',
  )
})

test('no any, default export, barrel or enum', () => {
  const typescript = code.filter((file) => file.endsWith('.ts'))
  none(
    linesWith(/(:|<|\bas|=>|\|)\s*any\b[^']*$|any\[\]/, typescript.filter(noText)),
    'name the type',
  )
  none(linesWith(/^export default\b/, typescript), 'export it by name')
  none(linesWith(/^export \* from/, typescript), 'import from the file itself')
  none(
    linesWith(/^\s*(export )?(const )?(enum|namespace)\s+\w/, typescript),
    'use a union of texts',
  )
})

/** This file talks about the things it forbids. */
function noText(file: string): boolean {
  return file !== 'test/tidy.test.ts'
}

/** Where text leaves for a terminal or a log: each writes out what a terminal would obey. */
const exits = new Set([
  'cli/output.ts',
  'coordinator/logger.ts',
  'dev/say.ts',
  'services/kit/log.ts',
  // They end the process once all is out, or show what a tool said of this repository.
  'cli/main.ts',
  'dev/check.ts',
  'dev/gen.ts',
])

test('text leaves a program by one exit', () => {
  const printing = code.filter(
    (file) =>
      /^(coordinator|services|ingest|cli|dev|proto)\//.test(file) &&
      !/^services\/legacy\/|\.mjs$/.test(file) &&
      !exits.has(file),
  )
  none(
    linesWith(/\bprocess\.std(out|err)\.write\(|\bconsole\.\w+\(/, printing),
    'say() or data() of cli/output.ts, a Logger, logError() of services/kit/log.ts, or dev/say.ts',
  )
})

test('no test is skipped, focused or left to do', () => {
  const tests = code.filter((file) => file.startsWith('test/') && noText(file))
  const marked = linesWith(
    /\b(test|it|describe|suite|t)\.(skip|only|todo)\(|\b(skip|only|todo): true/,
    tests,
  )
  none(marked, 'mend it or delete it')
})

test('no path of a machine in any tracked file', () => {
  const homes = ['work', 'farm', 'root', 'home', 'Users'].join('|')
  const pattern = new RegExp(`(^|[^A-Za-z0-9_.])/(${homes})/`)
  const plain = files.filter(
    (file) =>
      file !== 'package-lock.json' &&
      /\.(ts|mjs|md|json|yaml|xml|proto|properties|txt)$|^\.ci\//.test(file),
  )
  none(linesWith(pattern, plain, true), 'use a path relative to the repository')
})

test('what a comment cites is in the repository', () => {
  const cited = code.flatMap((file) =>
    [...text(file).matchAll(/(?<![\w/.-])((?:[\w-]+\/)*[\w-]+\.md)\b/g)]
      .map(([, name = '']) => ({ file, name }))
      .filter(({ name }) => name !== ''),
  )
  const exists = ({ file, name }: { file: string; name: string }): boolean =>
    files.includes(name) || files.some((one) => one.endsWith(`/${name}`)) || file === SELF
  none(
    cited.filter((one) => !exists(one)).map(({ file, name }) => `${file} cites ${name}`),
    'say it in docs/, or leave the citation out',
  )
  const known = text('docs/decisions/kafkajs.md')
  const numbers = code
    .filter((file) => /^(coordinator|packages|test\/(kafka|log|mutants))\//.test(file))
    .flatMap((file) =>
      [...text(file).matchAll(/\bK(\d{1,2})\b/g)].map(([number]) => ({ file, number })),
    )
  assert.ok(numbers.length > 10)
  none(
    numbers
      .filter(({ number }) => !known.includes(`| ${number} |`))
      .map(({ file, number }) => `${file} cites ${number}`),
    'define it in docs/decisions/kafkajs.md',
  )
})

test('no tracked file is larger than 1 MB', () => {
  const large = files.filter((file) => statSync(join(root, file)).size > limits.fileBytes)
  none(large, 'keep data out of the repository')
})

type Group = 'dependencies' | 'optionalDependencies' | 'devDependencies'
type Manifest = Readonly<Record<Group, Readonly<Record<string, string>>>>

test('README.md has a reason for every direct dependency, and versions are exact', () => {
  const manifest = JSON.parse(text('package.json')) as Manifest
  const direct = {
    ...manifest.dependencies,
    ...manifest.optionalDependencies,
    ...manifest.devDependencies,
  }
  // First column of the table of dependencies.
  const rows = text('README.md').matchAll(/^\| ([^|]+) \| \S.*\|$/gm)
  const named = new Set([...rows].flatMap(([, first = '']) => first.split(/[\s,`]+/)))
  none(
    Object.keys(direct).filter((name) => !named.has(name)),
    'add a line to the dependencies in README.md',
  )
  const loose = Object.entries(direct).filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))
  none(
    loose.map(([name, version]) => `${name} ${version}`),
    'pin it',
  )
})

test('every source file of production has a user', () => {
  const entry = /(^|\/)main\.ts$|^cli\/wellspring\.mjs$/
  const used = new Set(imports.map(({ target }) => target))
  const mentioned = production.filter((file) => !entry.test(file) && !used.has(file))
  const dead = mentioned.filter((file) => {
    const name = file.split('/').at(-1) ?? file
    return code.every((other) => other === file || !text(other).includes(name))
  })
  none(dead, 'delete it')
})
