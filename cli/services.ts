// services: the step services as a coordinator sees them, replica by replica, and why one is not called.
import { ServiceStatusSchema, type ServiceStatus } from '#proto/wellspring/control/v1/control_pb.ts'
import { ask } from './control.ts'
import type { WhereFlags } from './environment.ts'
import { jsonOf } from './json.ts'
import { showList, table, type Format } from './output.ts'

/** All replicas, one a line, and what is wrong with one under it. */
export async function services(flags: WhereFlags & { readonly output: Format }): Promise<void> {
  const { services: found } = await ask(flags, (control) => control.getCoordinator({}))
  const items = found.map((status) => jsonOf(ServiceStatusSchema, status))
  showList(flags.output, items, found, servicesText)
}

export function servicesText(found: readonly ServiceStatus[]): string {
  if (found.length === 0) return ''
  const rows = table([
    ['SERVICE', 'REPLICA', 'STATE', 'IN FLIGHT', 'QUEUED', 'LIMIT', 'VERSION'],
    ...found.map(({ service, address, state, inFlight, queued, limit, version }) => [
      service,
      address || '-',
      state,
      inFlight,
      queued,
      limit,
      version || '-',
    ]),
  ])
  return [rows, ...serviceLines(found)].join('\n')
}

/** A line for each replica that is not called, and one for each service without any that is; empty: all are well. */
export function serviceLines(found: readonly ServiceStatus[]): string[] {
  const byService = Map.groupBy(found, ({ service }) => service)
  return [...byService].flatMap(([service, replicas]) => {
    const problems = replicas.filter(({ problem }) => problem !== '')
    const waiting = replicas[0]?.queued ?? 0
    const isStuck = problems.length === replicas.length
    return [
      ...problems.map(({ problem }) => `not called: ${problem}`),
      ...(isStuck ? [`${service} has no replica that can be called: ${waiting} calls wait`] : []),
    ]
  })
}
