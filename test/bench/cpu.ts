// CPU time of a process, from Linux' own account: unlike wall time it hardly depends on who else is busy.
import { readFileSync } from 'node:fs'

/** The kernel counts in hundredths of a second for user space. */
const TICK_MS = 10

/** Milliseconds of CPU that a process has used; NaN where /proc does not tell. */
export function cpuMs(pid: number | undefined): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS
  } catch {
    return NaN
  }
}
