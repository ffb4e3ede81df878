import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { anyPack } from '@bufbuild/protobuf/wkt'
import { ExplainResponseSchema } from '#proto/wellspring/control/v1/control_pb.ts'
import { StepResultSchema } from '#proto/wellspring/record/v1/output_pb.ts'
import { EchoImageResponseSchema } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { jsonOf } from '../../cli/json.ts'

const known = anyPack(EchoImageResponseSchema, create(EchoImageResponseSchema, { digest: 'd' }))
const unknown = {
  typeUrl: 'type.googleapis.com/somebody.else.v1.Thing',
  value: Uint8Array.of(8, 1),
}

test('the output of a known step is readable', () => {
  const json = jsonOf(StepResultSchema, create(StepResultSchema, { step: 'echo', output: known }))
  assert.deepEqual(json, {
    step: 'echo',
    output: {
      '@type': 'type.googleapis.com/wellspring.steps.echo.v1.EchoImageResponse',
      digest: 'd',
    },
  })
})

test('the output of an unknown step is left out, at any depth, and the rest stays', () => {
  const result = create(StepResultSchema, { step: 'x', revision: 2, output: unknown })
  assert.deepEqual(jsonOf(StepResultSchema, result), { step: 'x', revision: 2 })
  const about = create(ExplainResponseSchema, {
    entity: 'E/P/a1',
    runs: [
      { step: 'x', output: unknown },
      { step: 'y', output: known },
    ],
  })
  const { runs } = jsonOf(ExplainResponseSchema, about) as { runs: object[] }
  assert.deepEqual(
    runs.map((run) => Object.keys(run)),
    [['step'], ['step', 'output']],
  )
})
