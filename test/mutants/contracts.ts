// Ways to take contracts for what they are not, each with the tests that must then fail.
import type { Catcher, Edit, Mutant } from './list.ts'

const digest = (only: string): Catcher => ({ file: 'test/proto/digest.test.ts', only })
const canonical = (find: string, replace: string): Edit => ({
  file: 'proto/canonical.ts',
  find,
  replace,
})

const replicas = (only: string): Catcher => ({ file: 'test/calls/replicas.test.ts', only })
const classify = (find: string, replace: string): Edit => ({
  file: 'coordinator/calls/classify.ts',
  find,
  replace,
})

export const contractMutants: readonly Mutant[] = [
  {
    name: 'the digest ends where our own packages do',
    edits: [
      canonical(
        "  return typeName.startsWith('google.protobuf.')\n",
        "  return !typeName.startsWith('wellspring.')\n",
      ),
    ],
    tests: [digest('two imports away')],
  },
  {
    name: 'the digest leaves out the error reasons that are declared elsewhere',
    edits: [canonical('    if (declared) this.#addEnum(declared)\n', '')],
    tests: [digest('error reason')],
  },
  {
    name: 'the digest leaves out what a rule of their own says',
    edits: [canonical('      this.#addExtension(extension)\n', '')],
    tests: [digest('rule of their own')],
  },
  {
    name: 'believe the class that an undeclared reason claims',
    edits: [
      classify(
        "    class: ErrorClass.AMBIGUOUS,\n    reason: 'UNDECLARED',\n",
        "    class: info.metadata['class'] === 'RETRYABLE' ? ErrorClass.RETRYABLE : ErrorClass.AMBIGUOUS,\n    reason: 'UNDECLARED',\n",
      ),
    ],
    tests: [{ file: 'test/calls/classify.test.ts', only: 'claims RETRYABLE is UNDECLARED' }],
  },
  {
    name: 'call a replica by the digest that it claims',
    edits: [
      {
        file: 'coordinator/calls/fit.ts',
        find: '  if (bytes.length === 0) {\n',
        replace: '  if (bytes.length === 0 || stated === digest) {\n',
      },
    ],
    tests: [replicas('digest that is claimed')],
  },
  {
    name: 'call a replica whose fields have other numbers',
    edits: [
      {
        file: 'coordinator/calls/compatible.ts',
        find: '      if (there !== undefined && there !== number)\n',
        replace: '      if (there !== undefined && there !== number && false)\n',
      },
    ],
    tests: [replicas('an odd replica beside a right one')],
  },
  {
    name: 'go on over a connection that came back without a look',
    edits: [
      {
        file: 'coordinator/calls/replica.ts',
        find: '    lost.client.close()\n    this.connection = new Watchable(this.address)\n',
        replace: '',
      },
    ],
    tests: [replicas('comes back odd')],
  },
  {
    name: 'never look again at a replica that was left out',
    edits: [
      {
        file: 'coordinator/calls/replica.ts',
        find: "      if (this.state === 'EXCLUDED') {\n",
        replace: "      if (this.state === 'EXCLUDED') {\n        await new Promise(() => {})\n",
      },
    ],
    tests: [replicas('taken in')],
  },
  {
    name: 'blame whatever was in hand when a program ended',
    edits: [
      {
        file: 'coordinator/core/culprit.ts',
        find: "  if (programEnded === 'alone') trouble.programEndsAlone += 1\n",
        replace: '  trouble.programEndsAlone += 1\n',
      },
    ],
    tests: [{ file: 'test/core/culprit.test.ts', only: 'never alone, is not blamed' }],
  },
  {
    name: 'send other calls where one is to be alone',
    edits: [
      {
        file: 'coordinator/calls/service.ts',
        find: "    return this.replicas.filter((one) => one.state === 'CHECKED' && !this.#solo.isKept(one))\n",
        replace: "    return this.replicas.filter((one) => one.state === 'CHECKED')\n",
      },
      {
        file: 'coordinator/calls/service.ts',
        find: "      if (replica.state !== 'CHECKED' || this.#solo.isKept(replica)) continue\n",
        replace: "      if (replica.state !== 'CHECKED') continue\n",
      },
    ],
    tests: [{ file: 'test/calls/ends.test.ts', only: 'wants its service for itself' }],
  },
  {
    name: 'take a lost connection for the end of the process',
    edits: [
      {
        file: 'coordinator/calls/replica.ts',
        find: "        return before !== '' && look.answer.instance !== before ? 'ended' : 'unknown'\n",
        replace: "        return 'ended'\n",
      },
    ],
    tests: [{ file: 'test/calls/ends.test.ts', only: 'cut while the process lives' }],
  },
  {
    name: 'a wrapper lets others in beside a call that is to be alone',
    edits: [
      {
        file: 'services/kit/executions.ts',
        find: 'if (solitary > 0 && job.alone !== true)',
        replace: 'if (solitary > 1_000 && job.alone !== true)',
      },
    ],
    tests: [{ file: 'test/kit/alone.test.ts', only: 'others are put off' }],
  },
]
