// What a call waits for that state does not know: a replica of its service that can be called.
import type { ExplainResponse, ServiceStatus } from '#proto/wellspring/control/v1/control_pb.ts'
import type { Pipeline } from '../core/pipeline/pipeline.ts'

/** Says in `next` of an attempt under way that it waits, if no replica of its service can be called. */
export function withWaiting(
  known: ExplainResponse,
  { steps }: Pipeline,
  services: readonly ServiceStatus[],
): ExplainResponse {
  const waits = known.runs
    .filter(({ state }) => state === 'RUNNING')
    .flatMap(({ step, attempts }) => {
      const service = steps.find(({ name }) => name === step)?.method.parent.typeName
      const replicas = services.filter((one) => one.service === service)
      const [first] = replicas
      if (!first || replicas.some(({ problem }) => problem === '')) return []
      const number = attempts.at(-1)?.number ?? 1
      return [
        `attempt ${number} of ${step} waits for a replica of ${service} that can be called: ${first.problem}`,
      ]
    })
  if (waits.length > 0) known.next = waits.join('; ')
  return known
}
