// The echo service: answers with a digest of what it was asked.
import {
  EchoErrorSchema,
  EchoService,
  type EchoMember,
} from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { serve } from '../kit/serve.ts'
import { digestOf, echo, mustBeThere, texts } from './echo.ts'

await serve({
  name: 'echo',
  version: '1.0.0',
  service: EchoService,
  errors: EchoErrorSchema,
  handlers: {
    echoImage: ({ context, image, previous }, call) =>
      echo(context, call, () => {
        mustBeThere(image, call)
        return { digest: digestOf(image?.sha256 ?? '', previous) }
      }),
    echoImageOnce: ({ context, image, previous }, call) =>
      echo(context, call, () => ({ digest: digestOf(image?.sha256 ?? '', previous) })),
    echoSite: ({ context, members }, call) => echo(context, call, () => echoOf(members)),
    echoWell: ({ context, members }, call) => echo(context, call, () => echoOf(members)),
    echoPlate: ({ context, members, holes }, call) =>
      echo(context, call, () => ({
        ...echoOf(members),
        digest: digestOf(...texts(members), ...holes),
      })),
  },
})

function echoOf(members: readonly EchoMember[]): { digest: string; members: number } {
  return { digest: digestOf(...texts(members)), members: members.length }
}
