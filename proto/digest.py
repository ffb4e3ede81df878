"""The digest of a contract in Python: README.md, "The digest", says what it is; canonical.ts is the same in TypeScript.

Needs protobuf 5.29 or newer (4.25 where no file uses editions) and nothing else. In a wrapper, for Describe:

    service = count_pb2.DESCRIPTOR.services_by_name["CountService"]
    ServedContract(
        service=service.full_name,
        contract_digest=contract_digest(service),
        file_descriptor_set=file_descriptor_set(service).SerializeToString(),
    )

By hand: python digest.py [--canonical] SERVICE FILE (protoc --include_imports -o FILE, or buf build -o FILE)
"""

import hashlib
import json
import math
import struct
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor as Field

FORMAT = "i:1"
FLOATS = (Field.TYPE_DOUBLE, Field.TYPE_FLOAT)
MESSAGES = (Field.TYPE_MESSAGE, Field.TYPE_GROUP)
TYPES = {
    number: name[len("TYPE_") :].lower()
    for name, number in descriptor_pb2.FieldDescriptorProto.Type.items()
}
STREAMS = {(True, False): "client_streaming", (False, True): "server_streaming", (True, True): "bidi_streaming"}


def contract_digest(service):
    """SHA-256, 64 hex digits, over the canonical form of a google.protobuf ServiceDescriptor."""
    return hashlib.sha256(canonical_contract(service).encode("utf-8")).hexdigest()


def canonical_contract(service):
    """All that the service reaches, as one line of JSON with sorted keys."""
    walk = Walk(service.file.pool)
    walk.add_service(service)
    document = {"format": FORMAT, "service": service.full_name, "elements": walk.elements}
    return text_of(document)


def text_of(value):
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def file_descriptor_set(service):
    """The service's file after all that it imports, as Describe carries it."""
    files = {}

    def add(file):
        if file.name in files:
            return
        files[file.name] = None
        for imported in file.dependencies:
            add(imported)
        proto = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(proto)
        proto.ClearField("source_code_info")
        del files[file.name]  # after its imports
        files[file.name] = proto

    add(service.file)
    return descriptor_pb2.FileDescriptorSet(file=files.values())


class Walk:
    def __init__(self, pool):
        self.pool = pool
        self.elements = {}
        self.factories = {}
        self.protos = {}

    def add_service(self, service):
        options = self.options(service)
        methods = {method.name: self.method(method) for method in service.methods}
        self.elements[service.full_name] = {"methods": methods, **options}
        policy = options.get("options", {}).get("[wellspring.contract.v1.service]", {})
        if "2" in policy:  # errors_enum: named by a text, so that nothing else reaches it
            try:
                self.add_enum(self.pool.FindEnumTypeByName(policy["2"][len("s:") :]))
            except KeyError:
                pass

    def method(self, method):
        self.add_message(method.input_type)
        self.add_message(method.output_type)
        proto = self.proto(method.containing_service, method.full_name)
        shape = {"input": method.input_type.full_name, "output": method.output_type.full_name}
        streams = (proto.client_streaming, proto.server_streaming)
        if any(streams):
            shape["stream"] = STREAMS[streams]
        if proto.options.idempotency_level != 0:
            shape["idempotency"] = f"i:{proto.options.idempotency_level}"
        return {**shape, **self.options(method)}

    def add_message(self, message):
        name = message.full_name
        if name in self.elements or is_well_known(name):
            return
        self.elements[name] = {}  # it may reach itself
        proto = self.proto(message, name)
        alone = {field.number for field in proto.field if field.proto3_optional}
        element = {"fields": {str(field.number): self.field(field, alone) for field in message.fields}}
        oneofs = {}
        for oneof in message.oneofs:
            options = self.options(oneof)
            if options:
                oneofs[oneof.name] = options["options"]
        if oneofs:
            element["oneofs"] = oneofs
        self.elements[name] = {**element, **self.options(message)}

    def field(self, field, alone):
        value = field
        if is_map(field):
            value = field.message_type.fields_by_name["value"]
        if value.message_type:
            self.add_message(value.message_type)
        if value.enum_type:
            self.add_enum(value.enum_type)
        return {**shape_of(field, alone), **self.options(field)}

    def add_enum(self, enum):
        name = enum.full_name
        if name in self.elements or is_well_known(name):
            return
        values = [
            [f"i:{value.number}", value.name, *self.options(value).values()] for value in enum.values
        ]
        element = {"values": sorted(values, key=text_of), **self.options(enum)}
        if enum.is_closed:
            element["closed"] = True
        self.elements[name] = element

    def add_extension(self, extension):
        """An extension that an option uses counts with its own definition. Its type is not opened."""
        name = extension.full_name
        if name in self.elements:
            return
        self.elements[name] = {}  # its options may use itself
        self.elements[name] = {
            **shape_of(extension, set()),
            "extends": extension.containing_type.full_name,
            "number": f"i:{extension.number}",
            **self.options(extension),
        }

    def proto(self, element, name):
        """What a descriptor was made of. Taken from its file: not every runtime gives it for a message."""
        if name not in self.protos:
            file = descriptor_pb2.FileDescriptorProto()
            element.file.CopyToProto(file)
            prefix = f"{file.package}." if file.package else ""
            self.keep_protos(prefix, file.message_type)
            for service in file.service:
                for method in service.method:
                    self.protos[f"{prefix}{service.name}.{method.name}"] = method
        return self.protos[name]

    def keep_protos(self, prefix, messages):
        for message in messages:
            self.protos[prefix + message.name] = message
            self.keep_protos(f"{prefix}{message.name}.", message.nested_type)

    def options(self, element):
        options = self.reread(element.GetOptions())
        found = self.extensions_on(options) if options is not None else {}
        return {"options": found} if found else {}

    def reread(self, message):
        """The options once more by the pool that they come from: it knows the extensions, others drop them."""
        data = message.SerializeToString()
        name = message.DESCRIPTOR.full_name
        if not data:
            return None
        if name not in self.factories:
            try:
                descriptor = self.pool.FindMessageTypeByName(name)
            except KeyError:  # nothing here imports descriptor.proto, so nobody declares options
                return None
            self.factories[name] = message_factory.GetMessageClass(descriptor)
        return self.factories[name].FromString(data)

    def extensions_on(self, message):
        found = {}
        for field, value in message.ListFields():
            if field.is_extension and not is_of_source_only(field):
                self.add_extension(field)
                found[f"[{field.full_name}]"] = self.values(field, value)
        return found

    def message_value(self, message):
        found = self.extensions_on(message)
        for field, value in message.ListFields():
            if field.is_extension or is_of_source_only(field):
                continue
            if not is_repeated(field) and not field.has_presence and value == 0:
                continue  # a zero with a sign is none either
            found[str(field.number)] = self.values(field, value)
        return found

    def values(self, field, value):
        if is_map(field):
            key, held = (field.message_type.fields_by_name[name] for name in ("key", "value"))
            pairs = [[scalar(key, one), self.value(held, value[one])] for one in value]
            return sorted(pairs, key=lambda pair: text_of(pair).encode("utf-8"))
        if is_repeated(field):
            return [self.value(field, one) for one in value]
        return self.value(field, value)

    def value(self, field, value):
        return self.message_value(value) if field.type in MESSAGES else scalar(field, value)


def scalar(field, value):
    if field.type == Field.TYPE_BOOL:
        return bool(value)
    if field.type == Field.TYPE_STRING:
        return f"s:{value}"
    if field.type == Field.TYPE_BYTES:
        return f"b:{value.hex()}"
    if field.type in FLOATS:
        return "d:nan" if math.isnan(value) else f"d:{struct.pack('>d', value).hex()}"
    return f"i:{value}"


def shape_of(field, alone):
    """What a field is called and how it travels. alone: numbers of proto3 optional fields, whose oneof is made up."""
    value = field.message_type.fields_by_name["value"] if is_map(field) else field
    held = value.message_type or value.enum_type
    shape = {"name": field.name, "type": TYPES[value.type], "holds": holds(field)}
    if is_map(field):
        shape["key"] = TYPES[field.message_type.fields_by_name["key"].type]
    if held is not None:
        shape["of"] = held.full_name
    if field.containing_oneof is not None and field.number not in alone:
        shape["oneof"] = field.containing_oneof.name
    if not field.is_extension and field.json_name != json_name_of(field.name):
        shape["json"] = field.json_name
    if field.has_default_value and field.default_value not in ("", b""):
        shape["default"] = scalar(field, field.default_value)
    return shape


def holds(field):
    if is_repeated(field):
        return "repeated"
    if is_required(field):
        return "required"
    return "explicit" if field.has_presence else "implicit"


def is_repeated(field):
    return field.is_repeated if hasattr(field, "is_repeated") else field.label == Field.LABEL_REPEATED


def is_required(field):
    return field.is_required if hasattr(field, "is_required") else field.label == Field.LABEL_REQUIRED


def is_map(field):
    message = field.message_type
    return message is not None and is_repeated(field) and message.GetOptions().map_entry


def is_of_source_only(field):
    """Compilers leave such options out of the descriptors that programs carry."""
    return field.GetOptions().retention == descriptor_pb2.FieldOptions.RETENTION_SOURCE


def is_well_known(name):
    return name.startswith("google.protobuf.")


def json_name_of(name):
    first, *others = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in others)


def service_in(data, name):
    """The ServiceDescriptor of a serialised FileDescriptorSet, with a pool of its own."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName(name)


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--canonical"]
    if len(arguments) != 2:
        sys.exit("usage: python digest.py [--canonical] SERVICE DESCRIPTOR_SET_FILE")
    with open(arguments[1], "rb") as handle:
        asked = service_in(handle.read(), arguments[0])
    print(canonical_contract(asked) if "--canonical" in sys.argv else contract_digest(asked))
