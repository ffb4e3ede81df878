// One echo per image by the echo contract with a longer breath: any number of calls at once, each minutes long.
import { clone, createFileRegistry, getOption, setExtension } from '@bufbuild/protobuf'
import { durationFromMs, FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt'
import { step as stepOption } from '#proto/wellspring/contract/v1/options_pb.ts'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { image, step, type PipelineSpec } from '../../coordinator/core/pipeline/pipeline.ts'

const limits = { attemptMs: 300_000, totalMs: 600_000, inFlightMax: 100_000 } as const

export const PatientService = patient()
const echoed = step('echo', PatientService.method.echoImage, { image: image.artifact })

export const pipeline: PipelineSpec = {
  name: 'echo-patient',
  version: 1,
  steps: [echoed],
  bands: { name: 'none', version: 1, rules: [] },
}

function patient(): typeof EchoService {
  const { file, typeName, method } = EchoService
  const policy = getOption(method.echoImage, stepOption)
  const proto = clone(FileDescriptorProtoSchema, file.proto)
  const options = proto.service[0]?.method.find(
    ({ name }) => name === method.echoImage.name,
  )?.options
  if (!options || !policy.flow) throw new Error('EchoImage has no policy')
  setExtension(options, stepOption, {
    ...policy,
    attemptTimeout: durationFromMs(limits.attemptMs),
    totalTimeout: durationFromMs(limits.totalMs),
    flow: { ...policy.flow, maxInFlightPerReplica: limits.inFlightMax },
  })
  const imported = new Map(file.dependencies.map((one) => [one.proto.name, one]))
  const service = createFileRegistry(proto, (name) => imported.get(name)).getService(typeName)
  if (!service) throw new Error(`${typeName} is gone`)
  return service as typeof EchoService
}
