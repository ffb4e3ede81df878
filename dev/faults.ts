// Was each injected fault handled as itself? Judged from the topics, never from what was intended.
import { anyUnpack } from '@bufbuild/protobuf/wkt'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import type { StepFailure } from '#proto/wellspring/step/v1/failure_pb.ts'
import { Verdict, type StepResult } from '#proto/wellspring/record/v1/output_pb.ts'
import {
  SegmentNucleiResponseSchema,
  type SegmentNucleiResponse,
} from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import { classWord, verdictWord } from '../cli/states.ts'
import { plateOf } from '@wellspring/lab/entity.ts'
import { isHit, type Demo, type Fault, type FaultKind } from './demo.ts'
import { latestOf, type Observed } from './observe.ts'
import type { Restart } from './supervisor.ts'

export type Handled = {
  readonly kind: FaultKind
  readonly target: string
  /** What was found, in words. */
  readonly handledAs: string
  readonly ok: boolean
}

type Evidence = {
  readonly demo: Demo
  readonly seen: Observed
  readonly restarts: readonly Restart[]
  /** Why the attempts on the half-copied image failed, as the coordinator explains it. */
  readonly copyFailures: readonly StepFailure[]
}

type Finding = Pick<Handled, 'handledAs' | 'ok'>

/** One entry per injected fault. */
export function judgeFaults(evidence: Evidence): readonly Handled[] {
  return evidence.demo.faults.map((fault) => ({ ...fault, ...judge(fault, evidence) }))
}

function judge(fault: Fault, evidence: Evidence): Finding {
  const { seen } = evidence
  switch (fault.kind) {
    case 'missing-site':
      return missingSite(fault.target, seen)
    case 'duplicate':
      return duplicate(fault.target, seen)
    case 'truncated':
      return truncated(fault.target, seen)
    case 'half-copied':
      return halfCopied(fault.target, evidence)
    case 'empty-well':
      return emptyWell(fault, evidence)
    case 'defocused-column':
      return defocused(fault, evidence)
    case 'service-restart':
      return restarted(fault.target, evidence)
  }
}

function missingSite(target: string, { closes }: Observed): Finding {
  for (const close of closes.values()) {
    const hole = close.holes.find(({ entity }) => entity === target)
    if (hole)
      return {
        handledAs: `hole ${hole.reason}, named when ${close.entity} closed`,
        ok: hole.reason === 'NEVER_ARRIVED',
      }
  }
  return { handledAs: 'no close names it', ok: false }
}

function duplicate(target: string, seen: Observed): Finding {
  const counted = seen.status.get(plateOf(target))?.duplicate ?? 0
  const results = qualityOf(target, seen)
  return {
    handledAs: `${results.length} result, ${counted} duplicate announcement on its plate`,
    ok: results.length === 1 && counted >= 1,
  }
}

function truncated(target: string, seen: Observed): Finding {
  const letter = [...seen.deadLetters.values()].find(({ entity }) => entity === target)
  const results = qualityOf(target, seen).length
  if (!letter?.failure) return { handledAs: `no dead letter, ${results} results`, ok: false }
  const { class: errorClass, reason } = letter.failure
  return {
    handledAs: `${classWord(errorClass)} ${reason}, dead letter after ${letter.attempts} attempt`,
    ok: errorClass === ErrorClass.POISON && results === 0,
  }
}

function halfCopied(target: string, { seen, copyFailures }: Evidence): Finding {
  const [result, ...more] = qualityOf(target, seen)
  if (!result) return { handledAs: 'no result', ok: false }
  const tried = `done at attempt ${result.attempts}`
  if (result.attempts < 2) return { handledAs: `${tried}: it was never retried`, ok: false }
  const failures = copyFailures.map((one) => `${classWord(one.class)} ${one.reason}`)
  return {
    handledAs: `${[...new Set(failures)].join(', ') || 'reason not known'}, ${tried}`,
    ok: more.length === 0 && failures.includes('RETRYABLE ARTIFACT_NOT_READY'),
  }
}

function emptyWell(fault: Fault, { seen, demo }: Evidence): Finding {
  const sites = [...demo.truth.keys()].filter((site) => isHit(fault, site))
  const nuclei = sites.map((site) => nucleiOf(latestOf(seen, 'segment-nuclei').get(site)))
  const found = nuclei.map((one) => one?.nucleiCount ?? 'no result')
  const flagged = verdictsBelow(fault, seen).filter(({ verdict }) => verdict !== Verdict.PASS)
  const rules = new Set(
    flagged.flatMap(({ findings }) => findings.filter(isBad).map(({ rule }) => rule)),
  )
  return {
    handledAs: `${found.join(' and ')} nuclei, flagged by ${[...rules].join(', ') || 'nothing'}`,
    ok: nuclei.every((one) => one?.nucleiCount === 0) && nuclei.length > 0 && rules.size > 0,
  }
}

function defocused(fault: Fault, { seen, demo }: Evidence): Finding {
  const shots = demo.shots.filter(({ entity }) => isHit(fault, entity))
  const verdicts = verdictsBelow(fault, seen).filter(({ step }) => step === 'image-quality')
  const caught = verdicts.filter(({ findings }) =>
    findings.some((finding) => finding.rule === 'in-focus' && isBad(finding)),
  )
  const words = new Set(caught.map(({ verdict }) => verdictWord(verdict)))
  return {
    handledAs: `${[...words].join(', ') || 'not noticed'}: ${caught.length} of ${shots.length} images out of focus`,
    ok: caught.length === shots.length,
  }
}

function restarted(target: string, { seen, restarts }: Evidence): Finding {
  const restart = restarts.find(({ name, newPid }) => name === target && newPid > 0)
  if (!restart) return { handledAs: 'not started again', ok: false }
  const after = [...seen.results.values()].filter(
    ({ step, finishedAt }) =>
      step === target && Number(finishedAt?.seconds ?? 0) * 1000 > restart.at,
  )
  return {
    handledAs: `${restart.how}, started again (${restart.oldPid} → ${restart.newPid}), ${after.length} results since`,
    ok: after.length > 0,
  }
}

const isBad = ({ verdict }: { readonly verdict: Verdict }): boolean =>
  verdict === Verdict.WARN || verdict === Verdict.FAIL

function verdictsBelow(fault: Fault, { verdicts }: Observed) {
  return [...verdicts.values()].filter(({ entity }) => isHit(fault, entity))
}

function qualityOf(target: string, { results }: Observed): StepResult[] {
  return [...results.values()].filter(
    ({ entity, step }) => entity === target && step === 'image-quality',
  )
}

/** The response in a segment-nuclei result. */
export function nucleiOf(result: StepResult | undefined): SegmentNucleiResponse | undefined {
  return result?.output && anyUnpack(result.output, SegmentNucleiResponseSchema)
}
