import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import {
  create,
  type DescMessage,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf'
import { Client, credentials } from '@grpc/grpc-js'
import { ArtifactSchema, type Artifact } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import type { CallContext } from '#proto/wellspring/step/v1/call_pb.ts'
import { begin, contextOf } from '../kit/support.ts'
import { dataDir } from './legacy/shared-data.ts'
import { startProgram } from './legacy/programs.ts'

/** A wrapper as a process of its own, with a store and a client. */
export type Wrapper = {
  /** Calls with a fresh idempotency key. A failed call rejects with Refused. */
  call<Input extends DescMessage, Output extends DescMessage>(
    method: DescMethodUnary<Input, Output>,
    request: (context: CallContext) => MessageInitShape<Input>,
  ): Promise<MessageShape<Output>>
  /** Readable by the wrapper; gone when it stops. */
  readonly folder: string
  stop(): Promise<void>
}

let keys = 0

/** Starts services/<step>/main.ts. It may read the real images and its own folder. */
export async function startWrapper(
  step: string,
  env: Record<string, string> = {},
): Promise<Wrapper> {
  const folder = mkdtempSync(join(tmpdir(), `${step}-`))
  const program = await startProgram(`${step}/main.ts`, {
    WELLSPRING_LISTEN: '127.0.0.1:0',
    WELLSPRING_ROOTS: dataDir === undefined ? folder : `${dataDir}:${folder}`,
    WELLSPRING_STORE: join(folder, 'store'),
    ...env,
  })
  const client = new Client(program.address, credentials.createInsecure())
  return {
    folder,
    call(method, request) {
      const context = contextOf((++keys).toString(16), { step })
      const message = create(method.input, request(context))
      return begin(client, method, message, { timeoutMs: 20_000 }).answer
    },
    async stop() {
      client.close()
      await program.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Announces a file as it is now. */
export function artifactOf(path: string, mediaType = 'image/tiff'): Artifact {
  const bytes = readFileSync(path)
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  return create(ArtifactSchema, {
    uri: pathToFileURL(path).href,
    sizeBytes: bytes.length,
    sha256,
    mediaType,
  })
}

/** Path of an artifact that a wrapper published. */
export function pathOf(artifact: Artifact | undefined): string {
  return fileURLToPath(artifact?.uri ?? 'file:///missing')
}
