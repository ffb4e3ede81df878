// Ways to misread what a broker says, or to write over what is still read, each with the test that must then fail.
import type { Catcher, Edit, Mutant } from './list.ts'

const responses = (find: string, replace: string): Edit => ({
  file: 'packages/kafka/responses.ts',
  find,
  replace,
})
const test = (only: string): Catcher => ({ file: 'test/kafka/responses.test.ts', only })

export const responseMutants: readonly Mutant[] = [
  {
    name: 'lend a buffer that is still read',
    edits: [responses(' || !given.delete(buffer)', '')],
    tests: [test('lent again')],
  },
  {
    name: 'keep lent buffers when nobody reads',
    edits: [
      responses(' || readings === 0', ''),
      responses('if (readings === 0) free.length = 0', ''),
    ],
    tests: [test('lent again')],
  },
  {
    name: 'believe any size of a response',
    edits: [responses('size < SIZE_BYTES || size > limits.responseBytesMax', 'size < 0')],
    tests: [test('no broker sends')],
  },
  {
    name: 'forget how far the size of a response was read',
    edits: [responses('if (own.headBytes < SIZE_BYTES) return\n', '')],
    tests: [test('come out whole')],
  },
  {
    name: 'keep the lent bytes of a checkpoint',
    edits: [
      {
        file: 'coordinator/task/restore.ts',
        find: 'new Uint8Array(value)',
        replace: 'value',
      },
    ],
    tests: [{ file: 'test/log/memory.test.ts', only: 'are lent' }],
  },
]
