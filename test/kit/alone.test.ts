// A program that ended over a call: what the wrapper says of it, and how a call is worked on alone.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { digest, echo, echoRequest, refusal, startEcho } from './support.ts'

test('it is told whether the program worked on this call alone when it ended', async (t) => {
  const { client } = await startEcho(t, async (request, call) => {
    const key = Number(call.idempotencyKey)
    await sleep(key === 9 ? 150 : 20)
    if (key === 1) throw call.fail('NOT_YET', 'its socket closed', { endedProgram: 'shared' })
    if (key === 2) throw call.fail('NOT_YET', 'killed by SIGSEGV', { endedProgram: 'own' })
    if (key === 3) throw call.fail('NOT_YET', 'try again')
    return { digest: request.previous === '' ? '' : digest }
  })
  const marks = async (...keys: number[]): Promise<(string | undefined)[]> =>
    Promise.all(
      keys.map(async (key) => {
        const { info } = await refusal(echo(client, echoRequest(String(key))))
        return info?.metadata['program_ended']
      }),
    )
  assert.deepEqual(await marks(1), ['alone'])
  assert.deepEqual(await marks(1, 2, 3), ['among-others', 'alone', undefined])
  // Who began while another was worked on was not alone, nor who saw another begin.
  const long = echo(client, echoRequest('9'))
  await sleep(50)
  assert.deepEqual(await marks(1), ['among-others'])
  await long
})

test('a call that wants to be alone waits for those that run, and others are put off meanwhile', async (t) => {
  const order: string[] = []
  let running = 0
  const { client } = await startEcho(t, async (_, call) => {
    running += 1
    order.push(`${Number(call.idempotencyKey)} of ${running}`)
    await sleep(150)
    running -= 1
    return { digest }
  })
  const before = [1, 2].map((key) => echo(client, echoRequest(String(key))))
  await sleep(50)
  const alone = [3, 4].map((key) => echo(client, echoRequest(String(key)), { alone: true }))
  await sleep(50)
  const { info, retry } = await refusal(echo(client, echoRequest('5')))
  assert.deepEqual([info?.reason, info?.metadata['class']], ['FULL', 'OVERLOADED'])
  assert.ok(retry)
  // An answer that is there, or a call that runs, disturbs nobody.
  const joined = echo(client, echoRequest('1'))
  await Promise.all([...before, ...alone, joined])
  assert.deepEqual(order, ['1 of 1', '2 of 2', '3 of 1', '4 of 1'])
  assert.equal((await echo(client, echoRequest('5'))).digest, digest)
})

test('a call that waits to be alone waits no longer than its time, and lets the others on', async (t) => {
  const { client } = await startEcho(t, async () => {
    await sleep(600)
    return { digest }
  })
  const long = echo(client, echoRequest('1'))
  await sleep(50)
  const { code } = await refusal(echo(client, echoRequest('2'), { alone: true, timeoutMs: 200 }))
  assert.equal(code, 4)
  await sleep(100)
  const [first, next] = await Promise.all([long, echo(client, echoRequest('3'))])
  assert.deepEqual([first.digest, next.digest], [digest, digest])
})
