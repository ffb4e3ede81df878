#!/usr/bin/env node
// The bin: runs under any Node >= 20 and hands over to our own Node 24.
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findNode } from './own-node.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const node = findNode(dirname(here))
if (node === undefined) {
  process.stderr.write(
    'wellspring is not installed yet: run "npm start" (or "npm install") in its folder first\n',
  )
  process.exit(1)
}

const child = spawn(node, [join(here, 'main.ts'), ...process.argv.slice(2)], { stdio: 'inherit' })
// A terminal's Ctrl-C reaches the child by itself; others ask only us.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.on(signal, () => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
  })
child.on('error', (error) => {
  process.stderr.write(`wellspring cannot run ${node}: ${error.message}\n`)
  process.exit(1)
})
child.on('exit', (code, signal) => {
  process.exit(code ?? 128 + (signal ? constants.signals[signal] : 0))
})
