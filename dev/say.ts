// The one exit for what the dev programs print.
import { visible } from '../cli/output.ts'

/** Lines of ours on stdout, in our colours. */
export function say(text: string): void {
  process.stdout.write(`${visible(text)}\n`)
}

/** Lines of ours on stderr. */
export function complain(text: string): void {
  process.stderr.write(`${visible(text)}\n`)
}
