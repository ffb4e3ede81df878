// The echo pipelines as a judge knows them: what each step digests, and what its contract allows.
import { getOption, type DescMethod } from '@bufbuild/protobuf'
import { Purity, step as stepOption } from '#proto/wellspring/contract/v1/options_pb.ts'
import { EchoFileService } from '#proto/wellspring/steps/echo/v1/echo_file_pb.ts'
import { EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import type { EchoInputs, JudgedPipeline, JudgedStep } from './evidence.ts'

const { echoImage, echoSite, echoWell, echoPlate } = EchoService.method

/** test/pipelines/echo-levels.ts */
export const echoLevels: JudgedPipeline = {
  label: 'echo-levels-1',
  steps: [
    judged('echo-image', echoImage, { kind: 'image' }),
    judged('echo-site', echoSite, { kind: 'members', step: 'echo-image', withHoles: false }),
    judged('echo-well', echoWell, { kind: 'members', step: 'echo-site', withHoles: false }),
    judged('echo-plate', echoPlate, { kind: 'members', step: 'echo-well', withHoles: true }),
  ],
}

/** test/pipelines/echo-files.ts */
export const echoFiles: JudgedPipeline = {
  label: 'echo-files-1',
  steps: [
    judged('echo-image', echoImage, { kind: 'image' }),
    judged('echo-site', echoSite, { kind: 'members', step: 'echo-image', withHoles: false }),
    {
      ...judged('echo-file', EchoFileService.method.echoFile, {
        kind: 'members',
        step: 'echo-image',
        withHoles: false,
      }),
      isKept: true,
    },
    judged('echo-well', echoWell, { kind: 'members', step: 'echo-site', withHoles: false }),
    judged('echo-plate', echoPlate, { kind: 'members', step: 'echo-well', withHoles: true }),
  ],
}

/** test/pipelines/echo-chain.ts */
export const echoChain: JudgedPipeline = {
  label: 'echo-chain-1',
  steps: [
    judged('echo-first', echoImage, { kind: 'image' }),
    judged('echo-second', echoImage, { kind: 'previous', step: 'echo-first' }),
    judged('echo-third', echoImage, { kind: 'previous', step: 'echo-second' }),
  ],
}

/** A step as its contract has it. */
export function judged(name: string, method: DescMethod, echo: EchoInputs): JudgedStep {
  const { level, purity, retry } = getOption(method, stepOption)
  const isNotIdempotent = purity === Purity.NOT_IDEMPOTENT
  return { name, level, attemptsMax: retry?.maxAttempts ?? 1, isNotIdempotent, echo }
}
