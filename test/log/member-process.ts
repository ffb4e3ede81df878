// A coordinator's part in the group as a process of its own: prints each assignment as a JSON line.
// Argument: the options of the log as JSON.
import { openKafkaLog, type KafkaLogOptions } from '../../coordinator/log/kafka.ts'

const options = JSON.parse(process.argv[2] ?? '{}') as Omit<KafkaLogOptions, 'logger'>
const log = await openKafkaLog({ ...options, logger: () => {} })
const positions = { 'images.v1': 0, 'commands.v1': 0 }
await log.join({
  assigned(owned, kept) {
    process.stdout.write(`${JSON.stringify({ owned, kept: [...kept] })}\n`)
    return new Map([...kept].map((task) => [task, positions]))
  },
  confirmed() {},
  records() {},
  passed() {},
  outOfRange() {},
  crashed(error) {
    throw error
  },
})
