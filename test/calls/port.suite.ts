// What every caller does, whatever carries its calls.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fromBinary } from '@bufbuild/protobuf'
import { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'
import { EchoImageResponseSchema } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import type { Caller, Outcome } from '../../coordinator/calls/port.ts'
import { echoRequest, outcomeOf } from './requests.ts'

export type World = {
  readonly caller: Caller
  /** How often the service worked for this key. */
  executions(idempotencyKey: string): number
  /** heldOutcomeMs of this caller. */
  readonly heldOutcomeMs: number
  close(): Promise<void>
}

export function portSuite(name: string, open: () => Promise<World>): void {
  void suite(`caller, ${name}`, () => {
    const story = (title: string, run: (world: World) => Promise<void>): void =>
      void test(title, async () => {
        const world = await open()
        try {
          await run(world)
        } finally {
          await world.close()
        }
      })
    tells(story)
    attaches(story)
    loses(story)
  })
}

type Story = (title: string, run: (world: World) => Promise<void>) => void

function failureIn(outcome: Outcome): { class: ErrorClass; reason: string } {
  assert.ok(outcome.kind === 'failed')
  return { class: outcome.failure.class, reason: outcome.failure.reason }
}

function tells(story: Story): void {
  story('tells the outcome once, not before call() has returned', async ({ caller }) => {
    let returned = false
    const outcome = await new Promise<Outcome>((resolve) => {
      caller.call(echoRequest({ key: 1 }), (told) => {
        assert.ok(returned)
        resolve(told)
      })
      returned = true
    })
    assert.ok(outcome.kind === 'done')
    assert.match(fromBinary(EchoImageResponseSchema, outcome.output).digest, /^[0-9a-f]{64}$/)
    assert.ok(outcome.timing.endedMs >= outcome.timing.startedMs)
    assert.notEqual(outcome.timing.replica, '')
  })

  story('answers the same to the same request, whatever the attempt', async ({ caller }) => {
    const first = await outcomeOf(caller, echoRequest({ key: 1, attempt: 1 }))
    const second = await outcomeOf(caller, echoRequest({ key: 2, attempt: 7 }))
    assert.ok(first.kind === 'done' && second.kind === 'done')
    assert.deepEqual(Buffer.from(first.output), Buffer.from(second.output))
  })

  const failures: readonly [string, ErrorClass][] = [
    ['NOT_YET', ErrorClass.RETRYABLE],
    ['BAD_DATA', ErrorClass.POISON],
    ['BUSY', ErrorClass.OVERLOADED],
    ['NEVER', ErrorClass.PERMANENT],
  ]
  for (const [reason, errorClass] of failures)
    story(`tells ${reason} with the class and hint of the contract`, async ({ caller }) => {
      const outcome = await outcomeOf(caller, echoRequest({ key: 1, act: `fail:${reason}:250` }))
      assert.deepEqual(failureIn(outcome), { class: errorClass, reason })
      assert.ok(outcome.kind === 'failed' && outcome.failure.hint !== '')
      assert.equal(outcome.retryAfterMs, 250)
    })

  story('tells AMBIGUOUS when nothing came back before the deadline', async ({ caller }) => {
    const outcome = await outcomeOf(caller, echoRequest({ key: 1, act: 'hang', timeoutMs: 200 }))
    const { class: errorClass, reason } = failureIn(outcome)
    assert.deepEqual([errorClass, reason], [ErrorClass.AMBIGUOUS, 'DEADLINE_EXCEEDED'])
  })
}

function attaches(story: Story): void {
  story('a second call with a running key attaches and replaces the listener', async (world) => {
    const request = echoRequest({ key: 1, act: 'late:60' })
    world.caller.call(request, () => assert.fail('the first listener was told'))
    assert.ok(world.caller.knows(request.idempotencyKey))
    const outcome = await outcomeOf(world.caller, request)
    assert.equal(outcome.kind, 'done')
    assert.equal(world.executions(request.idempotencyKey), 1)
  })

  story('an outcome is held until it is released', async (world) => {
    const request = echoRequest({ key: 1 })
    const first = await outcomeOf(world.caller, request)
    assert.deepEqual(await outcomeOf(world.caller, request), first)
    assert.equal(world.executions(request.idempotencyKey), 1)
    world.caller.release(request.idempotencyKey)
    assert.ok(!world.caller.knows(request.idempotencyKey))
    await outcomeOf(world.caller, request)
    assert.equal(world.executions(request.idempotencyKey), 2)
  })

  story('a release does not forget a running call', async ({ caller }) => {
    const request = echoRequest({ key: 1, act: 'late:60' })
    const outcome = outcomeOf(caller, request)
    caller.release(request.idempotencyKey)
    assert.ok(caller.knows(request.idempotencyKey))
    assert.equal((await outcome).kind, 'done')
  })

  story('a failure answers its own attempt again, and no later one', async (world) => {
    const failing = echoRequest({ key: 1, act: 'fail:NOT_YET' })
    const first = await outcomeOf(world.caller, failing)
    assert.deepEqual(await outcomeOf(world.caller, failing), first)
    assert.ok(world.caller.knows(failing.idempotencyKey, 1))
    assert.ok(!world.caller.knows(failing.idempotencyKey, 2))
    const second = await outcomeOf(world.caller, echoRequest({ key: 1, attempt: 2 }))
    assert.equal(second.kind, 'done')
    assert.equal(world.executions(failing.idempotencyKey), 2)
  })

  story('an overloaded call is made again under its old number', async (world) => {
    const request = echoRequest({ key: 1, act: 'fail:BUSY:1' })
    await outcomeOf(world.caller, request)
    await outcomeOf(world.caller, request)
    assert.equal(world.executions(request.idempotencyKey), 2)
  })
}

/** A call that the service never saw would be forgotten with its task. */
async function underWay(world: World, idempotencyKey: string): Promise<void> {
  while (world.executions(idempotencyKey) === 0) await sleep(1)
}

function loses(story: Story): void {
  story('a lost task is told nothing, and gets the outcome when it is back', async (world) => {
    const request = echoRequest({ key: 1, act: 'late:30' })
    const other = { ...echoRequest({ key: 2, act: 'late:60' }), task: 4 }
    world.caller.call(request, () => assert.fail('a lost task was told'))
    const second = outcomeOf(world.caller, other)
    await underWay(world, request.idempotencyKey)
    world.caller.detach(request.task)
    assert.equal((await second).kind, 'done')
    assert.ok(world.caller.knows(request.idempotencyKey))
    assert.equal((await outcomeOf(world.caller, request)).kind, 'done')
    assert.equal(world.executions(request.idempotencyKey), 1)
  })

  story('a lost task attaches to what still runs', async (world) => {
    const request = echoRequest({ key: 1, act: 'late:80' })
    world.caller.call(request, () => assert.fail('a lost task was told'))
    await underWay(world, request.idempotencyKey)
    world.caller.detach(request.task)
    assert.equal((await outcomeOf(world.caller, request)).kind, 'done')
    assert.equal(world.executions(request.idempotencyKey), 1)
  })

  story('outcomes of a task that stays away are forgotten', async (world) => {
    const request = echoRequest({ key: 1, act: 'late:20' })
    const held = echoRequest({ key: 2 })
    await outcomeOf(world.caller, held)
    world.caller.call(request, () => assert.fail('a lost task was told'))
    world.caller.detach(request.task)
    await sleep(world.heldOutcomeMs + 150)
    assert.ok(!world.caller.knows(request.idempotencyKey))
    assert.ok(!world.caller.knows(held.idempotencyKey))
  })

  story('a closed caller tells nobody', async ({ caller }) => {
    caller.call(echoRequest({ key: 1, act: 'late:20' }), () => assert.fail('told after close'))
    await caller.close()
    await sleep(60)
  })
}
