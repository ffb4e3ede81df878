// What a handler sees of the call it answers, and the one error it may throw on purpose.
import type { DescMessage, DescService, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import type { Artifact } from '#proto/wellspring/lab/v1/artifact_pb.ts'
import type { ProgramEnded } from '../../proto/kit-reasons.ts'
import type { ErrorClass } from '#proto/wellspring/contract/v1/errors_pb.ts'

/** One function per method of the service, in the contract's types. */
export type Handlers<Service extends DescService> = {
  readonly [Name in keyof Service['method']]: Service['method'][Name] extends {
    readonly methodKind: 'unary'
    readonly input: infer Input extends DescMessage
    readonly output: infer Output extends DescMessage
  }
    ? (
        request: MessageShape<Input>,
        call: Call,
      ) => Promise<MessageInitShape<Output>> | MessageInitShape<Output>
    : never
}

export type Call = {
  /** Aborts at the deadline, on Cancel(key), and when nobody has waited for orphanGraceMs (30,000). */
  readonly signal: AbortSignal
  /** Milliseconds left to work; what it takes to answer is already set aside. */
  remainingMs(): number
  readonly idempotencyKey: string
  /** W3C trace context of the innermost open legacy span, else of the call: hand it to the program. */
  readonly traceparent: string
  /**
   * `throw call.fail('TRUNCATED', 'page 1 of 3 is missing')`. The reason is an enum value's name without its
   * prefix; class, code and hint come from the contract. The message is cut at 1,024 characters. Where the program ended
   * over this call (killed, crashed, its connection cut, its job lost), say so by `endedProgram`: an image that ends it
   * again and again is found out, and becomes POISON.
   */
  fail(reason: string, message: string, options?: FailOptions): StepError
  /**
   * Absolute path of an artifact below one of the readable roots, its size and SHA-256 verified.
   * Throws the service's ARTIFACT_NOT_READY when the bytes are missing or are not the announced ones.
   */
  openArtifact(artifact: Artifact): Promise<string>
  /**
   * Puts files into the store under <entity>/<step>/<idempotency key>/, all or none, write-once: who comes second
   * gets the winner's artifacts. Once per call. A file in tempDir() is moved, any other is copied.
   */
  publish<Name extends string>(
    files: Readonly<Record<Name, PublishFile>>,
  ): Promise<Record<Name, Artifact>>
  /** A new directory, removed when the call ends. */
  tempDir(): Promise<string>
  /** Runs the program behind the wrapper inside a span "legacy <name>", for instance "http segment". */
  legacy<T>(
    name: string,
    attributes: Readonly<Record<string, string | number | boolean>>,
    run: (traceparent: string) => Promise<T>,
  ): Promise<T>
}

export type FailOptions = {
  readonly retryAfterMs?: number
  /** 'own': it worked on this call alone, as a command line does; 'shared': on all calls that the wrapper had. */
  readonly endedProgram?: 'own' | 'shared' | undefined
}

export type PublishFile =
  | { readonly path: string; readonly mediaType: string }
  | { readonly bytes: Uint8Array; readonly mediaType: string }

/** A failure in the contract's words. Handlers get theirs from call.fail. */
export class StepError extends Error {
  override readonly name = 'StepError'
  readonly failure: Failure

  constructor(failure: Failure) {
    super(failure.message)
    this.failure = failure
  }
}

export type Failure = {
  readonly reason: string
  readonly message: string
  readonly class: ErrorClass
  /** gRPC status code. */
  readonly code: number
  readonly hint: string
  readonly retryAfterMs?: number
  /** The program ended over this call, and whether it worked on others too. */
  readonly programEnded?: ProgramEnded
}
