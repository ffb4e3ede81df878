// The echo service that keeps its echo in a file: what was asked, in the store.
import { EchoErrorSchema } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { EchoFileService } from '#proto/wellspring/steps/echo/v1/echo_file_pb.ts'
import { serve } from '../kit/serve.ts'
import { digestOf, echo, texts } from './echo.ts'

await serve({
  name: 'echo-file',
  version: '1.0.0',
  service: EchoFileService,
  errors: EchoErrorSchema,
  handlers: {
    echoFile: ({ context, members }, call) =>
      echo(context, call, async () => {
        const lines = texts(members)
        const bytes = Buffer.from(lines.join('\n'))
        const { members: file } = await call.publish({
          members: { bytes, mediaType: 'text/plain' },
        })
        return { digest: digestOf(...lines), file }
      }),
  },
})
