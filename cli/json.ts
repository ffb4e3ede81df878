// Proto3 JSON, the same as the API's.
import {
  createRegistry,
  toJson,
  type DescMessage,
  type JsonValue,
  type MessageShape,
} from '@bufbuild/protobuf'
import { AnySchema, type Any } from '@bufbuild/protobuf/wkt'
import { file_wellspring_steps_echo_v1_echo } from '#proto/wellspring/steps/echo/v1/echo_pb.ts'
import { file_wellspring_steps_echo_v1_echo_file } from '#proto/wellspring/steps/echo/v1/echo_file_pb.ts'
import { file_wellspring_steps_features_v1_extract_features } from '#proto/wellspring/steps/features/v1/extract_features_pb.ts'
import { file_wellspring_steps_imagequality_v1_image_quality } from '#proto/wellspring/steps/imagequality/v1/image_quality_pb.ts'
import { file_wellspring_steps_nuclei_v1_segment_nuclei } from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import { file_wellspring_steps_platequality_v1_plate_quality } from '#proto/wellspring/steps/platequality/v1/plate_quality_pb.ts'
import { file_wellspring_steps_wellprofile_v1_well_profile } from '#proto/wellspring/steps/wellprofile/v1/well_profile_pb.ts'

/** The step messages that an Any may hold. */
const registry = createRegistry(
  file_wellspring_steps_echo_v1_echo,
  file_wellspring_steps_echo_v1_echo_file,
  file_wellspring_steps_features_v1_extract_features,
  file_wellspring_steps_imagequality_v1_image_quality,
  file_wellspring_steps_nuclei_v1_segment_nuclei,
  file_wellspring_steps_platequality_v1_plate_quality,
  file_wellspring_steps_wellprofile_v1_well_profile,
)

/** Proto3 JSON. Outputs of steps that this version does not know are left out. */
export function jsonOf<D extends DescMessage>(schema: D, message: MessageShape<D>): JsonValue {
  return toJson(schema, withoutUnknown(schema, message), { registry })
}

/** The message without Any fields whose type is not in the registry, at any depth outside maps. */
function withoutUnknown<D extends DescMessage>(
  schema: D,
  message: MessageShape<D>,
): MessageShape<D> {
  const copy = { ...message } as Record<string, unknown>
  for (const field of schema.fields) {
    const value = copy[field.localName]
    if (!field.message || field.oneof || value === undefined) continue
    const inner = field.message
    if (field.fieldKind === 'list')
      copy[field.localName] = (value as MessageShape<DescMessage>[]).map((item) =>
        withoutUnknown(inner, item),
      )
    else if (inner.typeName !== AnySchema.typeName)
      copy[field.localName] = withoutUnknown(inner, value as MessageShape<DescMessage>)
    else if (!registry.getMessage((value as Any).typeUrl.replace(/^.*\//, '')))
      delete copy[field.localName]
  }
  return copy as MessageShape<D>
}
