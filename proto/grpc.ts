// How a contract's method travels over @grpc/grpc-js: protobuf-es on both ends, client and server alike.
import type { MethodDefinition } from '@grpc/grpc-js'
import {
  fromBinary,
  toBinary,
  type DescMessage,
  type DescMethodUnary,
  type MessageShape,
} from '@bufbuild/protobuf'

export function grpcMethod<Input extends DescMessage, Output extends DescMessage>(
  method: DescMethodUnary<Input, Output>,
): MethodDefinition<MessageShape<Input>, MessageShape<Output>> {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: false,
    responseStream: false,
    requestSerialize: (message) => bytesOf(method.input, message),
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: (message) => bytesOf(method.output, message),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
  }
}

function bytesOf<Desc extends DescMessage>(desc: Desc, message: MessageShape<Desc>): Buffer {
  const bytes = toBinary(desc, message)
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
