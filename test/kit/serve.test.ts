import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { Metadata, status } from '@grpc/grpc-js'
import { EchoErrorSchema, EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import {
  SegmentNucleiErrorSchema,
  SegmentNucleiService,
} from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import {
  CancelRequestSchema,
  DescribeRequestSchema,
  StepIntrospectionService,
} from '#proto/wellspring/step/v1/introspection_pb.ts'
import { contractDigest } from '../../proto/digest.ts'
import { start } from '../../services/kit/serve.ts'
import {
  begin,
  clientOf,
  digest,
  echo,
  echoRequest,
  refusal,
  spawnWrapper,
  startEcho,
} from './support.ts'

const { echoImage } = EchoService.method
const key = '1'

test('a handler that rejects is answered as UNDECLARED, and the next call is served', async (t) => {
  let calls = 0
  const { client } = await startEcho(t, async () => {
    calls += 1
    if (calls === 1) throw new TypeError('x is not a function')
    return { digest }
  })
  const refused = await refusal(echo(client, echoRequest(key)))
  assert.equal(refused.code, status.INTERNAL)
  assert.equal(refused.info?.reason, 'UNDECLARED')
  assert.equal(refused.info?.domain, 'wellspring.steps.echo.v1')
  assert.equal(refused.info?.metadata['class'], 'AMBIGUOUS')
  assert.match(refused.details, /TypeError: x is not a function/)
  assert.equal((await echo(client, echoRequest(key))).digest, digest)
})

test('even an error that cannot be put into words is answered', async (t) => {
  const { client } = await startEcho(t, async (request, call) => {
    if (request.context?.attempt === 1) throw Object.create(null) as Error
    throw call.fail('BAD_DATA', undefined as unknown as string)
  })
  for (const attempt of [1, 2]) {
    const refused = await refusal(echo(client, echoRequest(key, { attempt }), { timeoutMs: 5_000 }))
    assert.equal(refused.code, status.INTERNAL)
  }
})

test('a promise that a handler forgot does not take the process down', async (t) => {
  const script = `
    import { EchoErrorSchema, EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
    import { serve } from './services/kit/serve.ts'
    const echo = () => {
      void Promise.reject(new Error('forgotten'))
      return { digest: '${digest}' }
    }
    const handlers = { echoImage: echo, echoImageOnce: echo, echoSite: echo, echoWell: echo, echoPlate: echo }
    await serve({ name: 'x', version: '1', service: EchoService, errors: EchoErrorSchema, handlers })`
  const args = ['--input-type=module-typescript', '--eval', script]
  const { address } = await spawnWrapper(t, args)
  const client = clientOf(t, address)
  for (const name of ['1', '2'])
    assert.equal((await echo(client, echoRequest(name))).digest, digest)
})

const outbursts = {
  'plain text': 'x'.repeat(100_000),
  'three bytes a character': '漢'.repeat(100_000),
  'half a surrogate pair where it is cut': '😀'.repeat(50_000).slice(1),
  'line ends and controls': '\r\n\u0000\u001b'.repeat(25_000),
}
for (const [kind, text] of Object.entries(outbursts))
  test(`100 kB of error (${kind}) are cut and leave the connection whole`, async (t) => {
    const { client } = await startEcho(t, (request, call) => {
      if (request.previous === 'ok') return { digest }
      throw request.context?.attempt === 1 ? call.fail('BAD_DATA', text) : new Error(text)
    })
    const ok = begin(client, echoImage, { ...echoRequest('a'), previous: 'ok' })
    for (const attempt of [1, 2]) {
      const refused = await refusal(echo(client, echoRequest(key, { attempt })))
      assert.equal(refused.info?.reason, attempt === 1 ? 'BAD_DATA' : 'UNDECLARED')
      assert.ok(refused.details.length > 100 && refused.details.length <= 1_024)
      assert.ok(encodeURI(refused.details).length <= 2_048)
      assert.ok(refused.detailsBytes > 100 && refused.detailsBytes <= 3_072)
    }
    assert.equal((await ok.answer).digest, digest)
  })

test('a declared failure carries class, hint, code and the wished delay', async (t) => {
  const { client } = await startEcho(t, (_, call) => {
    throw call.fail('BUSY', 'three before you', { retryAfterMs: 1_500 })
  })
  const refused = await refusal(echo(client, echoRequest(key)))
  assert.equal(refused.code, status.RESOURCE_EXHAUSTED)
  assert.equal(refused.details, 'three before you')
  assert.equal(refused.info?.reason, 'BUSY')
  assert.deepEqual(refused.info?.metadata, { class: 'OVERLOADED', hint: 'wait' })
  assert.equal(refused.retry?.retryDelay?.seconds, 1n)
  assert.equal(refused.retry?.retryDelay?.nanos, 500_000_000)
})

test('a reason that the contract does not declare is a mistake of the wrapper', async (t) => {
  const { client } = await startEcho(t, (_, call) => {
    throw call.fail('BUSYY', 'so many')
  })
  const refused = await refusal(echo(client, echoRequest(key)))
  assert.equal(refused.info?.reason, 'UNDECLARED')
  assert.match(refused.details, /BUSYY is no reason of wellspring.steps.echo.v1.EchoError/)
})

test('an invalid request is refused with the path of the field, and never handled', async (t) => {
  const { client } = await startEcho(t, () => assert.fail('handled'))
  const request = echoRequest(key)
  if (request.context?.identity) request.context.identity.plate = 'no/slash'
  const refused = await refusal(echo(client, request))
  assert.equal(refused.code, status.INVALID_ARGUMENT)
  assert.equal(refused.info?.reason, 'INVALID_REQUEST')
  assert.equal(refused.info?.metadata['class'], 'PERMANENT')
  assert.match(refused.details, /context\.identity\.plate/)
})

test('bytes that are no message are refused as invalid', async (t) => {
  const { client } = await startEcho(t, () => assert.fail('handled'))
  const { promise, resolve } = Promise.withResolvers<number | undefined>()
  const path = `/${EchoService.typeName}/EchoImage`
  const same = (bytes: Buffer): Buffer => bytes
  client.makeUnaryRequest(path, same, same, Buffer.from([255, 255]), new Metadata(), {}, (error) =>
    resolve(error?.code),
  )
  assert.equal(await promise, status.INVALID_ARGUMENT)
})

test('a response that breaks the contract is not sent', async (t) => {
  const { client } = await startEcho(t, () => ({ digest: 'short' }))
  const refused = await refusal(echo(client, echoRequest(key)))
  assert.equal(refused.code, status.FAILED_PRECONDITION)
  assert.equal(refused.info?.reason, 'BAD_RESPONSE')
  assert.equal(refused.info?.metadata['class'], 'PERMANENT')
  assert.match(refused.details, /digest/)
})

test('Describe states the digest of the contract; Cancel of an unknown key says so', async (t) => {
  const { client } = await startEcho(t, () => ({ digest }))
  const { describe, cancel } = StepIntrospectionService.method
  const said = await begin(client, describe, create(DescribeRequestSchema)).answer
  assert.equal(said.version, 'test')
  assert.deepEqual(
    said.contracts.map((contract) => [contract.service, contract.contractDigest]),
    [[EchoService.typeName, contractDigest(EchoService)]],
  )
  const request = create(CancelRequestSchema, { idempotencyKey: 'f'.repeat(32) })
  assert.equal((await begin(client, cancel, request).answer).wasRunning, false)
})

test('a drain lets the running call end and takes no new one', async (t) => {
  const release = Promise.withResolvers<void>()
  const entered = Promise.withResolvers<void>()
  const served = await startEcho(
    t,
    async () => {
      entered.resolve()
      await release.promise
      return { digest }
    },
    { WELLSPRING_DRAIN_MS: '60000' },
  )
  const running = begin(served.client, echoImage, echoRequest(key))
  await entered.promise
  const drained = served.drain()
  const refused = await refusal(echo(served.client, echoRequest('2')))
  assert.equal(refused.code, status.UNAVAILABLE)
  release.resolve()
  assert.equal((await running.answer).digest, digest)
  await drained
})

test('a drain that takes too long ends what runs, as AMBIGUOUS', async (t) => {
  const entered = Promise.withResolvers<AbortSignal>()
  const served = await startEcho(t, async (_, call) => {
    entered.resolve(call.signal)
    await once(call.signal, 'abort')
    throw call.signal.reason
  })
  const running = begin(served.client, echoImage, echoRequest(key))
  const signal = await entered.promise
  await served.drain()
  assert.equal(signal.aborted, true)
  const refused = await refusal(running.answer)
  assert.equal(refused.code, status.UNAVAILABLE)
  assert.equal(refused.info?.reason, 'DRAINING')
  assert.equal(refused.info?.metadata['class'], 'AMBIGUOUS')
})

test('a start is refused with the mistake in its text', async () => {
  const wrong = { WELLSPRING_LISTEN: 'nowhere', WELLSPRING_MAX_IN_FLIGHT: '0' }
  const handlers = {
    echoImage: () => ({ digest }),
    echoImageOnce: () => ({ digest }),
    echoSite: () => ({ digest }),
    echoWell: () => ({ digest }),
    echoPlate: () => ({ digest }),
  }
  const options = { name: 'echo', version: '1', service: EchoService, errors: EchoErrorSchema }
  await assert.rejects(
    start({ ...options, handlers }, wrong),
    /WELLSPRING_LISTEN="nowhere".*\n.*WELLSPRING_MAX_IN_FLIGHT="0"/,
  )
  await assert.rejects(
    start({ ...options, handlers: { ...handlers, echoSite: undefined as never } }, {}),
    /no handler for wellspring.steps.echo.v1.EchoService.EchoSite/,
  )
  await assert.rejects(
    start({ ...options, handlers }, { WELLSPRING_ROOTS: '/nonexistent/root' }),
    /WELLSPRING_ROOTS names "\/nonexistent\/root"/,
  )
  const service = SegmentNucleiService
  const segmentNuclei = (): never => assert.fail('called')
  await assert.rejects(
    start(
      {
        name: 'x',
        version: '1',
        service,
        errors: SegmentNucleiErrorSchema,
        handlers: { segmentNuclei },
      },
      {},
    ),
    /WELLSPRING_STORE is not set: .*SegmentNuclei keeps artifacts/,
  )
})
