// verify: the audit, read from the topics; polls when told to wait.
import { setTimeout as delay } from 'node:timers/promises'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { getOption } from '@bufbuild/protobuf'
import { TaskStatusSchema, type TaskStatus } from '#proto/wellspring/control/v1/control_pb.ts'
import { step as stepOption } from '#proto/wellspring/contract/v1/options_pb.ts'
import type { PipelineSpec } from '../coordinator/core/pipeline/pipeline.ts'
import { isClean, report, type AuditPipeline, type AuditReport } from './audit.ts'
import { kafkaPlace, type WhereFlags } from './environment.ts'
import { CliError, EXIT } from './exit.ts'
import { jsonOf } from './json.ts'
import { openLedger } from './ledger.ts'
import { say, showOne, table, type Format } from './output.ts'
import { manyLost, troubleLines } from './tasks.ts'
import { tasksDown } from './tasks-down.ts'
import { openTopics } from './topics.ts'

export type VerifyFlags = WhereFlags & {
  readonly output: Format
  /** Go on looking until clean, so long at most. */
  readonly waitMs: number
}

const pollMs = 1_000
const namesShownMax = 10

/**
 * Audits everything, or what is at or below an entity. Exit code 10 unless nothing is missing, doubled or unplanned, no
 * input was lost, and no task is down as far as a coordinator answers.
 */
export async function verify(within: string, flags: VerifyFlags): Promise<void> {
  const pipeline = await readPipeline()
  const place = kafkaPlace(flags)
  const topics = await openTopics(place)
  const ledger = openLedger(pipeline.label)
  const untilMs = performance.now() + flags.waitMs
  let found: AuditReport
  try {
    for (;;) {
      // Results before commands: a plan that is read has every result read that was there before it.
      for (const name of ['results.v1', 'dead-letters.v1', 'commands.v1'] as const)
        await topics.read(name, (record) => ledger.add(record))
      found = report(ledger, pipeline, within)
      // What is lost does not come by waiting.
      if (isClean(found) || performance.now() >= untilMs) break
      await delay(pollMs)
    }
  } finally {
    await topics.close()
  }
  const down = await tasksDown(flags, place)
  showOne(
    flags.output,
    {
      pipeline: pipeline.label,
      ...found,
      plates: [...found.plates],
      names: toNames(found),
      losses: [...found.losses],
      tasksDown: down.map((status) => jsonOf(TaskStatusSchema, status)),
    },
    { found, down },
    (shown) =>
      [verifyText(shown.found, pipeline.label), ...shown.down.flatMap(troubleLines)].join('\n'),
  )
  const faults = faultsOf(found, down)
  if (faults.length > 0) throw new CliError(EXIT.conditionFalse, faults.join('; '))
  if (found.planned === 0) say('note     nothing is planned yet')
}

function faultsOf(found: AuditReport, down: readonly TaskStatus[]): string[] {
  const { missing, duplicate, unplanned, losses } = found
  return [
    ...(isClean(found)
      ? []
      : [`not exact: ${missing} missing, ${duplicate} duplicate, ${unplanned} unplanned`]),
    ...losses.map((loss) => `may be lost: ${manyLost(loss)} of task ${loss.task}`),
    ...down.map(({ task, reason }) => `task ${task} is down: ${reason}`),
  ]
}

const toNames = ({ names }: AuditReport): Record<keyof AuditReport['names'], string[]> => ({
  missing: [...names.missing],
  duplicate: [...names.duplicate],
  unplanned: [...names.unplanned],
  unreadable: [...names.unreadable],
  stopped: [...names.stopped],
})

export function verifyText(found: AuditReport, pipeline: string): string {
  const { planned, done, parked, holes, missing, duplicate, unplanned } = found
  const lines = [
    table([
      ['PLATE', 'PLANNED', 'DONE', 'PARKED', 'HOLES', 'MISSING'],
      ...found.plates.map((plate) => [
        plate.plate,
        plate.planned,
        plate.done,
        plate.parked,
        plate.holes,
        plate.missing,
      ]),
    ]),
    '',
    `pipeline ${pipeline}: ${planned} step runs planned = ${done} done + ${parked} parked + ${holes} holes + ${missing} missing`,
    `${missing} missing, ${duplicate} duplicate, ${unplanned} unplanned`,
  ]
  if (found.refusedInputs > 0)
    lines.push(
      `${found.refusedInputs} input records were not taken in (npx wellspring dead-letters)`,
    )
  for (const loss of found.losses) {
    const { task, topic, from, to, acceptedBy } = loss
    lines.push(
      `may be lost: ${manyLost(loss)} of task ${task} (${topic}/${task}, ${from} to ${to}), accepted by ${acceptedBy}`,
    )
  }
  if (found.otherPipelines > 0)
    lines.push(`${found.otherPipelines} records of other pipelines were not judged`)
  if (found.stopped > 0)
    lines.push(`${found.stopped} plates were stopped, and lack something (npx wellspring plates)`)
  if (found.unreadable > 0)
    lines.push(`${found.unreadable} records cannot be read, and were not judged`)
  for (const kind of ['stopped', 'missing', 'duplicate', 'unplanned', 'unreadable'] as const)
    for (const name of found.names[kind].slice(0, namesShownMax)) lines.push(`  ${kind}  ${name}`)
  return lines.join('\n')
}

/** The pipeline that the coordinator runs: WELLSPRING_PIPELINE, else the screening pipeline. */
async function readPipeline(): Promise<AuditPipeline> {
  const path = process.env['WELLSPRING_PIPELINE']
  const module = path
    ? pathToFileURL(resolve(path)).href
    : new URL('../coordinator/pipelines/screening.ts', import.meta.url).href
  const loaded = (await import(module)) as { pipeline?: PipelineSpec }
  if (!loaded.pipeline)
    throw new CliError(EXIT.failed, `${path ?? module} exports no "pipeline" (WELLSPRING_PIPELINE)`)
  return auditPipeline(loaded.pipeline)
}

/** Label, and the level of every step by its contract. */
export function auditPipeline(spec: PipelineSpec): AuditPipeline {
  return {
    label: `${spec.name}-${spec.version}`,
    steps: spec.steps.map(({ name, method }) => ({
      name,
      level: getOption(method, stepOption).level,
    })),
  }
}
