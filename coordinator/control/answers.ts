// The answers of the control API: from the tasks owned here, and from the other coordinators.
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from '@connectrpc/connect'
import {
  ExplainResponseSchema,
  GetCoordinatorResponseSchema,
  ListPlatesRequestSchema,
  ListPlatesResponseSchema,
  type ControlService,
  type ExplainResponse,
  type GetPlateResponse,
  type ListPlatesRequest,
  type ListPlatesResponse,
} from '#proto/wellspring/control/v1/control_pb.ts'
import { create } from '@bufbuild/protobuf'
import { explain } from '../core/view/explain.ts'
import { isEntityKey, levelOf, parentOf, plateOf } from '@wellspring/lab/entity.ts'
import { membersOf } from '../core/life.ts'
import type { Task } from '../core/state.ts'
import { plateStatus, plateViewParts } from '../core/view/view.ts'
import { CANDIDATES_MAX, bestOf, find, findPlates, nearest, plateKeys, type Found } from './find.ts'
import type { Model, TaskLook } from './model.ts'
import type { Peers } from './peers.ts'
import { sliced } from './slices.ts'
import { withWaiting } from './waiting.ts'
import { briefStatus, downSentence, isDown, listTasks } from './tasks.ts'

const pageSizes = { usual: 100, max: 1_000 } as const
const aboutCharsMax = 2_048
/** Response header: how a coordinator that was asked read the text (Found.rank). */
const rankHeader = 'wellspring-rank'
/** Request header: search your own tasks, also if the text is the key of somebody else's. */
const searchHeader = 'wellspring-search'

/** The control service over a model. Rejects with NOT_FOUND, INVALID_ARGUMENT or UNAVAILABLE, each with the way out. */
export function controlAnswers(model: Model, peers: Peers): ServiceImpl<typeof ControlService> {
  /** Of those that are down, what was committed last. */
  const here = (): Task[] => [
    ...model.owned().values(),
    ...downs(model).flatMap(({ state }) => state ?? []),
  ]

  async function listPlates(request: ListPlatesRequest, context: HandlerContext) {
    const size = Math.min(request.pageSize || pageSizes.usual, pageSizes.max)
    const asked = peers
      .others(context)
      .map((peer) =>
        peers.ask(peer, context, (client, options) => client.listPlates(request, options)),
      )
    return mergePages(
      [ownPage(model, request.pageToken, size), ...(await Promise.all(asked))],
      size,
    )
  }

  async function allPlateKeys(context: HandlerContext): Promise<string[]> {
    const keys: string[] = []
    const request = { pageSize: pageSizes.max, pageToken: '' }
    do {
      const page = await listPlates(create(ListPlatesRequestSchema, request), context)
      keys.push(...page.plates.map((plate) => plate.entity))
      request.pageToken = page.nextPageToken
    } while (request.pageToken !== '')
    return keys
  }

  async function getPlate(name: string, context: HandlerContext): Promise<GetPlateResponse> {
    const known = await plateNamed(name, context)
    const place = peers.placeOf(known, context)
    switch (place.kind) {
      case 'there':
        return peers.ask(place.peer, context, (client, options) =>
          client.getPlate({ plate: known }, options),
        )
      case 'here':
        if (!hasPlate(place.task, known)) throw notFound(name, await allPlateKeys(context))
        return sliced(plateViewParts(place.task, known, model.nowMs()), context.signal)
      case 'down': {
        const { look } = place
        if (!look.state || !hasPlate(look.state, known)) throw isDown(briefStatus(model, look))
        const view = await sliced(plateViewParts(look.state, known, model.nowMs()), context.signal)
        if (view.status) view.status.taskDown = look.down?.trouble.reason ?? ''
        return view
      }
    }
  }

  /** What nobody knows may be of a task that is down: then it is not said to be nowhere. */
  async function refuseHidden(name: string, context: HandlerContext): Promise<void> {
    // Who passed the question on asks all others first.
    if (context.requestHeader.has(searchHeader)) return
    const { tasks } = await listTasks(model, peers, context)
    const hidden = tasks.find((one) => one.state === 'DOWN')
    if (hidden) throw isDown(hidden, `nothing that runs is called "${name}", and `)
  }

  async function plateNamed(name: string, context: HandlerContext): Promise<string> {
    if (isEntityKey(name) && parentOf(name) === undefined) return name
    const keys = await allPlateKeys(context)
    const [only, ...others] = findPlates(keys, name)
    if (only === undefined) {
      await refuseHidden(name, context)
      throw notFound(name, keys)
    }
    if (others.length > 0) throw ambiguous(name, [only, ...others])
    return only
  }

  async function explainKey(key: string, context: HandlerContext) {
    const place = peers.placeOf(key, context)
    if (place.kind === 'here') {
      const known = explain(place.task, key, model.nowMs())
      return known && withWaiting(known, model.pipeline, model.services())
    }
    if (place.kind === 'down') return explainDown(place.look, key)
    return peers
      .ask(place.peer, context, (client, options) => client.explain({ about: key }, options))
      .catch((error: unknown) => orUndefined(error))
  }

  /** What was committed last, and why nothing goes on; never that it is not there: nobody can know. */
  function explainDown(look: TaskLook, key: string): ExplainResponse {
    const status = briefStatus(model, look)
    const known = look.state && explain(look.state, key, model.nowMs())
    const answer =
      known ??
      create(ExplainResponseSchema, {
        entity: key,
        level: levelOf(key),
        state: 'UNKNOWN',
        notes: ['what is known of it is in the state of its task'],
      })
    answer.notes.unshift(`nothing goes on here: ${downSentence(status)}`)
    answer.next = `${status.hint} (npx wellspring tasks)`
    return answer
  }

  async function explainAbout(about: string, context: HandlerContext): Promise<ExplainResponse> {
    if (isEntityKey(about) && !context.requestHeader.has(searchHeader)) {
      const known = await explainKey(about, context)
      if (known) return known
    }
    const own = await sliced(find(here(), about), context.signal)
    const asked = peers.others(context).map(async (peer) => {
      let rank = 0
      const onHeader = (headers: Headers): void =>
        void (rank = Number(headers.get(rankHeader) ?? 0))
      const answer = await peers
        .ask(peer, context, (client, { headers, signal }) => {
          const search = { ...headers, [searchHeader]: '1' }
          return client.explain({ about }, { headers: search, signal, onHeader })
        })
        .catch((error: unknown) => orUndefined(error))
      const keys = answer?.entity ? [answer.entity] : (answer?.candidates ?? [])
      return { rank, keys }
    })
    const found = bestOf([own, ...(await Promise.all(asked))])
    return answerTo(about, found, context)
  }

  async function answerTo(about: string, found: Found, context: HandlerContext) {
    const [only, ...others] = found.keys
    if (only === undefined) {
      await refuseHidden(about, context)
      throw notFound(about, await namesNear(about, context))
    }
    context.responseHeader.set(rankHeader, String(found.rank))
    if (others.length > 0)
      return create(ExplainResponseSchema, { candidates: found.keys.slice(0, CANDIDATES_MAX) })
    const known = await explainKey(only, context)
    if (!known) throw notFound(about, [])
    return known
  }

  /** Names to compare a wrong one with: members of the nearest level above that exists, else the plates. */
  async function namesNear(about: string, context: HandlerContext): Promise<string[]> {
    for (const task of here())
      if (hasPlate(task, plateOf(about)) && isEntityKey(about)) {
        let above = parentOf(about)
        while (above && !explain(task, above, model.nowMs())) above = parentOf(above)
        if (above) return membersOf(task, above)
      }
    return allPlateKeys(context)
  }

  return {
    getCoordinator() {
      return create(GetCoordinatorResponseSchema, {
        instance: model.instance,
        pipeline: model.pipeline.label,
        tasks: [...model.owned().keys()].toSorted((a, b) => a - b),
        services: [...model.services()],
      })
    },
    listPlates,
    listTasks: (_, context) => listTasks(model, peers, context),
    getPlate: (request, context) => getPlate(textOf(request.plate, 'plate'), context),
    explain: (request, context) => explainAbout(textOf(request.about, 'about'), context),
  }
}

function downs(model: Model): TaskLook[] {
  return model.assigned().filter(({ down }) => down !== undefined)
}

function ownPage(model: Model, after: string, size: number): ListPlatesResponse {
  const down = downs(model)
  const views = [
    ...[...model.owned().values()].map((task) => ({ task, taskDown: '' })),
    ...down.flatMap(({ state, down: why }) =>
      state ? [{ task: state, taskDown: why?.trouble.reason ?? '' }] : [],
    ),
  ]
  const plates = views
    .flatMap((view) => plateKeys(view.task).map((key) => ({ key, ...view })))
    .filter(({ key }) => key > after)
    .toSorted((a, b) => (a.key < b.key ? -1 : 1))
  const page = plates.slice(0, size)
  return create(ListPlatesResponseSchema, {
    plates: page.map(({ key, task, taskDown }) => ({
      ...plateStatus(task, key, model.nowMs()),
      taskDown,
    })),
    down: down.map((look) => briefStatus(model, look)),
    nextPageToken: plates.length > size ? (page.at(-1)?.key ?? '') : '',
  })
}

function mergePages(pages: readonly ListPlatesResponse[], size: number): ListPlatesResponse {
  // A plate whose task moves while it is asked for may come from two: once is enough.
  const byKey = new Map(pages.flatMap((page) => page.plates.map((plate) => [plate.entity, plate])))
  const plates = [...byKey.values()].toSorted((a, b) => (a.entity < b.entity ? -1 : 1))
  const page = plates.slice(0, size)
  const isMore = plates.length > size || pages.some((one) => one.nextPageToken !== '')
  const nextPageToken = isMore ? (page.at(-1)?.entity ?? '') : ''
  const down = pages.flatMap((one) => one.down).toSorted((a, b) => a.task - b.task)
  return create(ListPlatesResponseSchema, { plates: page, nextPageToken, down })
}

function hasPlate(task: Task, key: string): boolean {
  return task.plates.has(key) || task.plans.has(key)
}

function textOf(text: string, field: string): string {
  const trimmed = text.trim()
  if (trimmed === '')
    throw new ConnectError(`${field} is empty: name something`, Code.InvalidArgument)
  if (trimmed.length <= aboutCharsMax) return trimmed
  throw new ConnectError(`${field} has more than ${aboutCharsMax} characters`, Code.InvalidArgument)
}

function notFound(name: string, names: readonly string[]): ConnectError {
  const near = nearest(name, names)
  const hint =
    near.length > 0
      ? `did you mean ${near.join(' or ')}?`
      : 'npx wellspring plates lists all plates'
  return new ConnectError(`nothing here is called "${name}": ${hint}`, Code.NotFound)
}

function ambiguous(name: string, keys: readonly string[]): ConnectError {
  const some = keys.slice(0, CANDIDATES_MAX).join(', ')
  return new ConnectError(`"${name}" may be any of ${some}: name more of it`, Code.InvalidArgument)
}

function orUndefined(error: unknown): undefined {
  if (error instanceof ConnectError && error.code === Code.NotFound) return undefined
  throw error
}
