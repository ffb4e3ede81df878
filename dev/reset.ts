// `npm run reset`: forgets everything that npm start kept, but for Kafka's jars.
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { readLocal, isRunning } from './local.ts'
import { complain, say } from './say.ts'
import { stateDir } from './tools.ts'

/** What costs minutes to fetch and holds no state. */
const KEPT: ReadonlySet<string> = new Set(['kafka-libs', 'judge-libs'])

const running = (await readLocal(stateDir))?.processes.filter(({ pid }) => isRunning(pid)) ?? []
if (running.length > 0) {
  const names = running.map(({ name, pid }) => `${name} (${pid})`).join(', ')
  complain(`wellspring: npm start is running: ${names}. Stop it first (Ctrl-C).`)
  process.exit(1)
}
const entries = await readdir(stateDir).catch(() => [])
const gone = entries.filter((entry) => !KEPT.has(entry))
for (const entry of gone) await rm(join(stateDir, entry), { recursive: true, force: true })
say(gone.length > 0 ? `removed ${gone.join(', ')}` : 'nothing to remove')
