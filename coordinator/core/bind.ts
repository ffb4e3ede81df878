// Requests from state: follows a step's bindings, as a pure function of what the task knows. The input digest
// covers content and parameters, never URIs: the same bytes elsewhere are the same input.
import { create, fromBinary, toBinary, type Message } from '@bufbuild/protobuf'
import { Level } from '#proto/wellspring/contract/v1/options_pb.ts'
import type { ImageState, SiteState } from '#proto/wellspring/journal/v1/state_pb.ts'
import { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { CallContextSchema } from '#proto/wellspring/step/v1/call_pb.ts'
import { imageName, imagePlace, placeOf, type Place } from './context.ts'
import { parseEntity, plateOf, wellOf } from '@wellspring/lab/entity.ts'
import { sha256 } from './keys.ts'
import { imageOf, membersOf } from './life.ts'
import { closeCount, holesOf, isImageDone } from './members.ts'
import { outputOf as outputBytes } from './payload.ts'
import type { ImageField, Source, Step } from './pipeline/pipeline.ts'
import { Member, type Task } from './state.ts'

export type BoundRequest =
  | { readonly kind: 'skip'; readonly reason: 'INPUT_MISSING' }
  | {
      readonly kind: 'request'
      readonly digest: Uint8Array
      /** What went in, relative to the entity (StepResult.inputs). */
      readonly inputs: ReadonlySet<string>
      message(call: { idempotencyKey: string; attempt: number; generation: number }): Message
    }

class InputMissing extends Error {}

/** The request of a step at a place, or skip when something it cannot do without is a hole. */
export function bindRequest(task: Task, step: Step, place: Place): BoundRequest {
  const inputs = new Set<string>()
  let fields: Record<string, unknown>
  try {
    fields = fieldsOf({ task, place, root: place.key, inputs }, step.inputs)
  } catch (error) {
    if (error instanceof InputMissing) return { kind: 'skip', reason: 'INPUT_MISSING' }
    throw error
  }
  const schema = step.method.input
  return {
    kind: 'request',
    digest: sha256(
      toBinary(schema, create(schema, withoutUris(fields) as Record<string, unknown>)),
    ),
    inputs,
    message: (call) =>
      create(schema, {
        ...fields,
        context: create(CallContextSchema, {
          identity: parseEntity(place.key),
          entity: place.key,
          step: step.name,
          pipeline: task.pipeline.label,
          ...call,
        }),
      }),
  }
}

type Scope = { task: Task; place: Place; root: string; inputs: Set<string> }

function fieldsOf(
  scope: Scope,
  sources: Readonly<Record<string, Source>>,
): Record<string, unknown> {
  const fields: Record<string, unknown> = {}
  for (const [name, source] of Object.entries(sources)) {
    const value = valueOf(scope, source)
    if (value !== undefined) fields[name] = value
  }
  return fields
}

function valueOf(scope: Scope, source: Source): unknown {
  const { task, place } = scope
  switch (source.kind) {
    case 'constant':
      return source.value
    case 'identity':
      return parseEntity(place.key)[source.field]
    case 'image':
      return imageValue(scope, source.field)
    case 'channel-image':
      return source.field === 'pixelOffset'
        ? pixelOffsetOf(scope, channelImageOf(scope, source.channelKind))
        : channelImageOf(scope, source.channelKind).artifact
    case 'output':
      return outputOf(scope, source.step, source.field)
    case 'plan': {
      const well = wellOf(place.key)
      return task.shape(plateOf(place.key))?.plan.wells.find((one) => one.well === well)?.role
    }
    case 'close':
      if (source.field === 'holes') return holesOf(task, place.key).map((hole) => hole.entity)
      return closeCount(task, place.key)[source.field]
    case 'each':
      return doneMembers(scope, source.at).map((member) =>
        fieldsOf({ ...scope, place: member }, source.fields),
      )
  }
}

function imageValue(scope: Scope, field: ImageField): unknown {
  const image = imageOf(scope.task, scope.place.key)
  if (!image) throw new InputMissing()
  if (scope.place.key !== scope.root) scope.inputs.add(relative(scope))
  switch (field) {
    case 'artifact':
      return image.artifact
    case 'channelKind':
      return image.channel?.kind
    case 'detectorCeiling':
      return image.channel?.detectorCeiling
    case 'pixelOffset':
      return pixelOffsetOf(scope, image)
  }
}

/** What the image says of its own grey levels, else what the plan says of its channel. */
function pixelOffsetOf({ task, place }: Scope, { channel }: ImageState): number {
  if (channel === undefined || channel.pixelOffset > 0) return channel?.pixelOffset ?? 0
  const plan = task.shape(plateOf(place.key))?.plan
  return plan?.channels.find((one) => one.name === channel.name)?.pixelOffset ?? 0
}

/** What the channel of an image shows; undefined above the image. */
export function channelKindOf(task: Task, place: Place): ChannelKind | undefined {
  if (place.level !== Level.IMAGE) return undefined
  return imageOf(task, place.key)?.channel?.kind ?? ChannelKind.UNSPECIFIED
}

function channelImageOf(scope: Scope, kind: ChannelKind): ImageState {
  const { task, place } = scope
  const plan = task.shape(plateOf(place.key))?.plan
  const channel = plan?.channels.find((one) => one.kind === kind)?.name
  const site = task.sites.get(place.key)
  const image = site?.images.find(
    (one) => one.z === plan?.referenceZ && one.channel?.name === channel && isImageDone(task, one),
  )
  if (!image?.artifact) throw new InputMissing()
  scope.inputs.add(imageName(image))
  return image
}

function outputOf(scope: Scope, stepName: string, field: string): unknown {
  const step = scope.task.pipeline.steps.find((one) => one.name === stepName)
  const run = step && scope.place.runs.find((one) => one.step === step.index)
  if (!step || !run || run.revision === 0) throw new InputMissing()
  scope.inputs.add(
    `${relative(scope)}${scope.place.key === scope.root ? '' : '/'}${stepName}#${run.revision}`,
  )
  const output = outputBytes(scope.task, { key: scope.place.key, run })
  return (fromBinary(step.method.output, output) as unknown as Record<string, unknown>)[field]
}

function relative(scope: Scope): string {
  return scope.place.key.slice(scope.root.length + 1)
}

/** The done members of the place, in the plan's order; images in order of name. */
function doneMembers({ task, place }: Scope, which: 'members' | 'reference-z'): Place[] {
  if (place.level === Level.SITE) {
    const site = task.sites.get(place.key)
    return site ? imagesOf(task, place.key, site, which) : []
  }
  const { wells, plates } = task
  const group = place.level === Level.PLATE ? plates.get(place.key) : wells.get(place.key)
  return membersOf(task, place.key)
    .filter((_, at) => group?.members[at] === Member.DONE)
    .flatMap((key) => placeOf(task, key) ?? [])
}

function imagesOf(
  task: Task,
  key: string,
  site: SiteState,
  at: 'members' | 'reference-z',
): Place[] {
  const z = task.shape(plateOf(key))?.plan.referenceZ
  return site.images
    .filter((image) => isImageDone(task, image) && (at === 'members' || image.z === z))
    .toSorted((a, b) => (imageName(a) < imageName(b) ? -1 : 1))
    .map((image) => imagePlace(task, key, site, image))
}

/** A copy without the uri of any artifact in it. */
function withoutUris(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUris)
  if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return value
  const isArtifact = '$typeName' in value && value.$typeName === 'wellspring.lab.v1.Artifact'
  const copy: Record<string, unknown> = {}
  for (const [name, inner] of Object.entries(value)) {
    if (name === '$unknown') continue
    copy[name] = isArtifact && name === 'uri' ? '' : withoutUris(inner)
  }
  return copy
}
