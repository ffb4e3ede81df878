// kafkajs as it was published, from a copy of its own, beside the one that is patched.
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { kafkajs, kafkajsRoot, loadKafkajs, modules } from '@wellspring/kafka/patches.ts'

const copy = mkdtempSync(join(tmpdir(), 'kafkajs-'))
cpSync(kafkajsRoot, copy, { recursive: true })
after(() => rmSync(copy, { recursive: true, force: true }))

export const original = loadKafkajs(copy, [])
export const patched = { kafkajs, modules }
