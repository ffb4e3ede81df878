// Ways to let code in that nobody recorded, each with the test that must then fail.
import type { Catcher, Edit, Mutant } from './list.ts'

const jars = (find: string, replace: string): Edit => ({
  file: 'dev/broker/jars.ts',
  find,
  replace,
})
const jarTest = (only: string): Catcher => ({ file: 'test/dev/jars.test.ts', only })

export const supplyMutants: readonly Mutant[] = [
  {
    name: 'use jars that differ from the recorded ones',
    edits: [jars('    refuse(set, differences(aside, set.sums))\n', '')],
    tests: [jarTest('stop the use of all')],
  },
  {
    name: 'use jars that nobody listed',
    edits: [
      jars(
        'return wanted === undefined\n',
        'if (wanted === undefined) return []\n      return false\n',
      ),
    ],
    tests: [jarTest('stop the use of all')],
  },
  {
    name: 'believe jars from before there was a list',
    edits: [jars('if (differences(directory, sums).length > 0) return false\n', '\n')],
    tests: [jarTest('from before there was a list')],
  },
  {
    name: 'go on with the jars of an older pom',
    edits: [jars('if (!isThere(set)) throw error', 'if (!existsSync(set.directory)) throw error')],
    tests: [jarTest('older pom')],
  },
  {
    name: 'ask Maven without strict checksums',
    edits: [{ file: 'dev/broker/java.ts', find: "    '--strict-checksums',\n", replace: '' }],
    tests: [jarTest('strict checksums')],
  },
  {
    name: 'let packages run scripts when they are installed',
    edits: [{ file: '.npmrc', find: 'ignore-scripts=true\n', replace: '' }],
    tests: [{ file: 'test/supply.test.ts', only: 'no script of a package' }],
  },
  {
    name: 'take any Node for ours',
    edits: [
      {
        file: 'cli/own-node.mjs',
        find: 'existsSync(installed) ? installed : undefined',
        replace: 'existsSync(installed) ? installed : execPath',
      },
    ],
    tests: [{ file: 'test/supply.test.ts', only: 'nothing else is taken for it' }],
  },
]
