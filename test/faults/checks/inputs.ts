// I4: a fan-in result lists exactly the committed inputs. Pure and idempotent steps may run ahead of commits: what
// counts is what is published.
import type { Evidence, JudgedStep } from '../evidence.ts'
import { latestCloses, placeOf, results, resultsByRevision, type Found } from './records.ts'
import type { StepResultSchema } from '#proto/wellspring/record/v1/output_pb.ts'
import { planned } from './names.ts'

type Result = Found<typeof StepResultSchema>

export function inputs(evidence: Evidence): string[] {
  const latest = new Map<string, Result>()
  for (const one of results(evidence)) {
    const run = `${one.message.entity}/${one.message.step}`
    const known = latest.get(run)
    if (!known || known.message.revision < one.message.revision) latest.set(run, one)
  }
  return results(evidence).flatMap((result) => {
    const step = evidence.pipeline.steps.find(({ name }) => name === result.message.step)
    if (!step || step.echo.kind === 'image') return []
    const run = `${result.message.entity}/${step.name}`
    return [
      ...committedBefore(evidence, result),
      ...(latest.get(run) === result ? exactly(evidence, step, result, latest) : []),
    ]
  })
}

/** Every listed input is a committed result, in front of this one in the log. */
function committedBefore(evidence: Evidence, { record, message }: Result): string[] {
  const known = resultsByRevision(evidence)
  const name = `${message.entity}/${message.step}#${message.revision}`
  const twice = new Set(message.inputs).size < message.inputs.length
  return [
    ...(twice ? [`${name} lists an input twice`] : []),
    ...message.inputs.flatMap((input) => {
      const found = known.get(`${message.entity}/${input}`)
      if (!found) return [`${name} lists ${input}, which was never committed`]
      // A plate's results share a partition.
      return found.record.offset < record.offset
        ? []
        : [
            `${name} at ${placeOf(record)} lists ${input}, committed behind it at ${found.record.offset}`,
          ]
    }),
  ]
}

/** The last word of a fan-in has read all of its members that are done, as they are now. */
function exactly(
  evidence: Evidence,
  { echo }: JudgedStep,
  { message }: Result,
  latest: ReadonlyMap<string, Result>,
): string[] {
  if (echo.kind !== 'members' || message.inputsLeftOut > 0) return []
  const { entity } = message
  const close = latestCloses(evidence).get(entity)
  if (close && close.holesLeftOut > 0) return []
  const holes = new Set(close?.holes.map((hole) => hole.entity))
  const name = `${entity}/${message.step}#${message.revision}`
  const wanted = new Map(
    (planned(evidence).get(entity)?.members ?? []).flatMap((member) => {
      const last = latest.get(`${member}/${echo.step}`)
      return last && !holes.has(member) ? [[member, last] as const] : []
    }),
  )
  const listed = new Set<string>()
  const complaints = message.inputs.flatMap((input) => {
    const found = resultsByRevision(evidence).get(`${entity}/${input}`)
    if (!found) return []
    listed.add(found.message.entity)
    const now = wanted.get(found.message.entity)
    if (!now) return [`${name} lists ${input}, which its close names a hole or nobody planned`]
    // Another revision with the same answer is the same input: the step need not run again.
    const isSame = Buffer.from(now.message.output?.value ?? []).equals(
      found.message.output?.value ?? Buffer.alloc(0),
    )
    return isSame ? [] : [`${name} lists ${input}; the latest is revision ${now.message.revision}`]
  })
  for (const member of wanted.keys())
    if (!listed.has(member)) complaints.push(`${name} leaves out ${member}, which is committed`)
  return complaints
}
