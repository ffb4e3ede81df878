// A wrapper that ends over one entity each time, whatever else it has in hand.
import { setTimeout as sleep } from 'node:timers/promises'
import { EchoErrorSchema, EchoService } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { serve } from '../../services/kit/serve.ts'

const killer = process.env['ENDS_OVER'] ?? ''
const digest = 'a'.repeat(64)
const members = (): { digest: string } => ({ digest })

await serve({
  name: 'ending-echo',
  version: 'test',
  service: EchoService,
  errors: EchoErrorSchema,
  handlers: {
    async echoImage({ context }) {
      await sleep(50)
      if (context?.entity === killer) process.kill(process.pid, 'SIGKILL')
      return { digest }
    },
    echoImageOnce: members,
    echoSite: members,
    echoWell: members,
    echoPlate: members,
  },
})
