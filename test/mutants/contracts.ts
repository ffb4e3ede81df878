// Ways to take contracts for what they are not, each with the tests that must then fail.
import type { Catcher, Edit, Mutant } from './list.ts'

const digest = (only: string): Catcher => ({ file: 'test/proto/digest.test.ts', only })
const canonical = (find: string, replace: string): Edit => ({
  file: 'proto/canonical.ts',
  find,
  replace,
})

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
]
