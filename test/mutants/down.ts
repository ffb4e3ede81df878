// Ways to let one task's trouble reach the others, or to pass over input in silence, each with the test that must fail.
import type { Catcher, Edit, Mutant } from './list.ts'

const editsOf =
  (file: string) =>
  (find: string, replace: string): Edit => ({ file, find, replace })
const restore = editsOf('coordinator/task/restore.ts')
const losses = editsOf('coordinator/core/losses.ts')
const inputLoss = editsOf('coordinator/task/input-loss.ts')
const takingOver = editsOf('coordinator/task/taking-over.ts')

const sim = (only: string): Catcher => ({ file: 'test/sim/down.test.ts', only })
const core = (only: string): Catcher => ({ file: 'test/core/losses.test.ts', only })
const control = (only: string): Catcher => ({ file: 'test/control/down.test.ts', only })

export const downMutants: readonly Mutant[] = [
  {
    name: 'go on at the first offset that is there, whatever was deleted',
    edits: [
      restore(
        '    const lost = lostInputs(',
        '    for (const topic of INPUT_TOPICS) next[topic] = Math.max(next[topic], listed[topic].low)\n' +
          '    const lost = lostInputs(',
      ),
    ],
    tests: [
      sim('deleted unread keeps its task down'),
      sim('the first owner says'),
      { file: 'test/model/model.test.ts', only: 'input that is deleted' },
    ],
  },
  {
    name: 'take a topic that was made anew for one that is read',
    edits: [inputLoss('from >= low && from <= high', 'from >= low')],
    tests: [sim('made anew is no empty one')],
  },
  {
    name: 'let go of a loss by a command that names another',
    edits: [
      inputLoss(
        'one.topic === other.topic && one.from === other.from && one.to === other.to',
        'one.topic === other.topic',
      ),
    ],
    tests: [sim('names exactly what is lost')],
  },
  {
    name: 'the barrier does not say where a task began',
    edits: [
      restore(
        'start: back.last ? [] : INPUT_TOPICS.map((topic) => inputOffset(topic, next[topic])),',
        'start: [],',
      ),
    ],
    tests: [sim('the first owner says')],
  },
  {
    name: 'the barrier does not say since when input is lost',
    edits: [restore('inputLostSinceMs: lost[0]?.noticedMs ?? 0,', 'inputLostSinceMs: 0,')],
    tests: [sim('deleted unread keeps its task down')],
  },
  {
    name: 'try a task that is down again and again without growing pauses',
    edits: [takingOver('limits.downPauseMinMs * 2 ** count)', 'limits.downPauseMinMs)')],
    tests: [sim('cannot be read keeps its task down'), sim('throws when a task is taken up')],
  },
  {
    name: 'claim a task that is down without the word of the group',
    edits: [takingOver('    if (isWanted()) await confirmation()\n', '')],
    tests: [sim('a stale owner that is down')],
  },
  {
    name: 'what throws in a turn of a task is thrown on',
    edits: [
      {
        file: 'coordinator/task/task.ts',
        find: '    } catch (error) {\n      this.fail(error)\n',
        replace: '    } catch (error) {\n      throw error\n',
      },
    ],
    tests: [sim('throws when a task is taken up')],
  },
  {
    name: 'what fails unseen is not told to its task',
    edits: [
      {
        file: 'coordinator/main.ts',
        find: '    if (engine) engine.fail(error)\n    else if (tasks)',
        replace: '    if (!engine && tasks)',
      },
    ],
    tests: [{ file: 'test/e2e/unseen.test.ts' }],
  },
  {
    name: 'an input outside the log is nobody s',
    edits: [
      {
        file: 'coordinator/task/host.ts',
        find: '      engines.get(task)?.outOfRange()\n',
        replace: '',
      },
    ],
    tests: [sim('deleted unread keeps its task down')],
  },
  {
    name: 'mark all plates at once',
    edits: [losses('plates.slice(0, task.bounds.recordsPerEvent)', 'plates')],
    tests: [core('some at a time')],
  },
  {
    name: 'a take-over forgets the plates that are still to be marked',
    edits: [
      {
        file: 'coordinator/core/restore.ts',
        find: '  markPlates(cx)\n  return',
        replace: '  return',
      },
    ],
    tests: [core('some at a time')],
  },
  {
    name: 'a plate of which records were waiting is not marked',
    edits: [losses('event.at.offset < end ? plateNamedBy(event) : undefined', 'undefined')],
    tests: [sim('the first owner says')],
  },
  {
    name: 'an older version takes state over that remembers a loss',
    edits: [losses('  task.journalVersion = Math.max(task.journalVersion, LOSSES_VERSION)\n', '')],
    tests: [sim('names exactly what is lost')],
  },
  {
    name: 'what a task that is down may hold is said not to be there',
    edits: [
      {
        file: 'coordinator/control/answers.ts',
        find: '    if (hidden) throw isDown(',
        replace: '    if (hidden && false) throw isDown(',
      },
    ],
    tests: [control('never said not to be there')],
  },
  {
    name: 'keep inputs by the time stamps of their producers',
    edits: [
      {
        file: 'packages/kafka/topics.ts',
        find: "const byArrival = { 'message.timestamp.type': 'LogAppendTime' }",
        replace: 'const byArrival = {}',
      },
    ],
    tests: [{ file: 'test/kafka/topic-settings.test.ts', only: 'by the time they arrive' }],
  },
  {
    name: 'warn of input that is not read once it is gone',
    edits: [
      {
        file: 'coordinator/task/retention.ts',
        find: 'leftMs >= warnBelowMs(keptMs)',
        replace: 'leftMs > 0',
      },
    ],
    tests: [{ file: 'test/task/retention.test.ts', only: 'a day before' }],
  },
  {
    name: 'call a broker that refuses one that cannot be reached',
    edits: [
      {
        file: 'packages/kafka/watchdog.ts',
        find: 'isRefused(failed)',
        replace: 'isRefused(undefined)',
      },
    ],
    tests: [{ file: 'test/kafka/connection.test.ts', only: 'a watchdog says' }],
  },
]
