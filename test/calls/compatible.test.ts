import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { differences } from '../../coordinator/calls/compatible.ts'
import type { MethodUse } from '../../coordinator/calls/uses.ts'
import type { Contract } from '../../proto/canonical.ts'
import { versionsOf, type Edit } from './versions.ts'

type Case = {
  readonly what: string
  readonly edits: readonly Edit[]
  /** What is said of a replica that serves the changed version to a coordinator that knows the base. */
  readonly changedReplica: readonly RegExp[]
  /** The other way round. */
  readonly changedCoordinator: readonly RegExp[]
}

function both(what: string, find: string, replace: string, ...said: RegExp[]): Case {
  return { what, edits: [[find, replace]], changedReplica: said, changedCoordinator: said }
}

function replicaOnly(what: string, find: string, replace: string, ...said: RegExp[]): Case {
  return { what, edits: [[find, replace]], changedReplica: said, changedCoordinator: [] }
}

function coordinatorOnly(what: string, find: string, replace: string, ...said: RegExp[]): Case {
  return { what, edits: [[find, replace]], changedReplica: [], changedCoordinator: said }
}

const cases: readonly Case[] = [
  both('nothing', 'service CountService', 'service  CountService'),
  // Fields
  both(
    'a response field with another number',
    'uint32 cells = 1',
    'uint32 cells = 11',
    /^CountResponse\.cells has number \d+ there, \d+ here$/,
  ),
  both(
    'a request field with another number',
    'double limit = 3',
    'double limit = 13',
    /^CountRequest\.limit has number \d+ there, \d+ here$/,
  ),
  both(
    'a field two messages below with another number',
    'double y = 2',
    'double y = 4',
    /^Region\.y has number/,
  ),
  {
    what: 'two fields of one type that change places',
    edits: [
      ['double x = 1', 'double x = 2'],
      ['double y = 2', 'double y = 1'],
    ],
    changedReplica: [
      /^Region\.x has number 2 there, 1 here$/,
      /^Region\.y has number 1 there, 2 here$/,
    ],
    changedCoordinator: [
      /^Region\.y has number 2 there, 1 here$/,
      /^Region\.x has number 1 there, 2 here$/,
    ],
  },
  both(
    'a number that is called something else',
    'uint32 cells = 1',
    'uint32 nuclei = 1',
    /^CountResponse\.(cells|nuclei): number 1 is called (cells|nuclei) there$/,
  ),
  both(
    'another type',
    'uint32 cells = 1',
    'int32 cells = 1',
    /^CountResponse\.cells is u?int32 there, u?int32 here$/,
  ),
  both(
    'many for one',
    'uint32 cells = 1',
    'repeated uint32 cells = 1',
    /^CountResponse\.cells is (repeated )?uint32 there/,
  ),
  both(
    'presence',
    'uint32 cells = 1',
    'optional uint32 cells = 1',
    /^CountResponse\.cells is (optional )?uint32 there/,
  ),
  both(
    'the key of a map',
    'map<string, Region>',
    'map<int32, Region>',
    /^CountResponse\.by_name is repeated map from/,
  ),
  both(
    'in a oneof and not',
    'string loose = 7;\n  oneof way {',
    'oneof way {\n    string loose = 7;',
    /^CountRequest\.loose is (optional )?string there/,
  ),
  both(
    'another well-known type',
    'google.protobuf.Timestamp taken_at',
    'google.protobuf.Any taken_at',
    /^(Timestamp|Any) is google\.protobuf\.(Any|Timestamp) there$/,
  ),
  {
    what: 'a type with another name and the same fields',
    edits: [
      ['message Region {', 'message Area {'],
      ['repeated Region regions', 'repeated Area regions'],
      ['map<string, Region>', 'map<string, Area>'],
      ['Region inner', 'Area inner'],
      ['Region whole', 'Area whole'],
    ],
    changedReplica: [],
    changedCoordinator: [],
  },
  // A field that one side does not know
  replicaOnly(
    'an optional field more in the response',
    '  Region whole = 10;',
    '  Region whole = 10;\n  optional string note = 20;',
  ),
  coordinatorOnly(
    'a plain field more in the response',
    '  Region whole = 10;',
    '  Region whole = 10;\n  double ratio = 20;',
    /^CountResponse\.ratio is not known there: it would read as zero$/,
  ),
  coordinatorOnly(
    'a list more in the response',
    '  Region whole = 10;',
    '  Region whole = 10;\n  repeated double all = 20;',
    /^CountResponse\.all is not known there: it would read as empty$/,
  ),
  coordinatorOnly(
    'a required field more in the response',
    '  Region whole = 10;',
    '  Region whole = 10;\n  optional string note = 20 [(buf.validate.field).required = true];',
    /^CountResponse\.note is required here, and not known there$/,
  ),
  replicaOnly(
    'one more of a oneof in the response',
    '    string plain = 8;',
    '    string plain = 8;\n    string other = 20;',
    /^CountResponse\.other is one more of oneof kind there: it would read as none$/,
  ),
  both(
    'an optional field more in the request',
    '  string loose = 7;',
    '  string loose = 7;\n  optional string note = 20;',
  ),
  both(
    'a plain field more in the request',
    '  string loose = 7;',
    '  string loose = 7;\n  string note = 20;',
  ),
  replicaOnly(
    'a required field more in the request',
    '  string loose = 7;',
    '  string loose = 7;\n  optional string note = 20 [(buf.validate.field).required = true];',
    /^CountRequest\.note is required there, and not known here$/,
  ),
  replicaOnly(
    'a field more in the request that must be bound',
    '  string loose = 7;',
    '  string loose = 7;\n  string note = 20 [(wellspring.contract.v1.field).required = true];',
    /^CountRequest\.note is required there, and not known here$/,
  ),
  replicaOnly(
    'a plain field more in the request that zero may break',
    '  string loose = 7;',
    '  string loose = 7;\n  string note = 20 [(buf.validate.field).string.min_len = 1];',
    /^CountRequest\.note has a rule there, and is not known here$/,
  ),
  both(
    'an optional field more in the request whose rule no absence breaks',
    '  string loose = 7;',
    '  string loose = 7;\n  optional string note = 20 [(buf.validate.field).string.min_len = 1];',
  ),
  coordinatorOnly(
    'a field more in what is sent whole',
    '  double y = 2;',
    '  double y = 2;\n  optional double z = 20;',
    /^Region\.z is sent from here, and not known there$/,
  ),
  // Rules
  replicaOnly(
    'a tighter rule in the request',
    'lte: 16',
    'lte: 8',
    /^CountRequest\.limit: a rule there may refuse what is sent from here \(double\.lte\)$/,
  ),
  coordinatorOnly(
    'a wider rule in the request',
    'lte: 16',
    'lte: 32',
    /^CountRequest\.limit: a rule there may refuse/,
  ),
  replicaOnly('an open bound for a closed one', 'lte: 16', 'lt: 16', /double\.lt\)$/),
  replicaOnly(
    'a rule more in the request',
    'string loose = 7;',
    'string loose = 7 [(buf.validate.field).string.pattern = "^a"];',
    /^CountRequest\.loose: a rule there may refuse what is sent from here \(string\.pattern\)$/,
  ),
  both('another pattern', 'string.max_len = 64];', 'string = {max_len: 64}];'),
  replicaOnly('shorter texts', 'string.max_len = 64', 'string.max_len = 32', /string\.max_len\)$/),
  replicaOnly(
    'fewer items',
    'repeated.max_items = 8',
    'repeated.max_items = 7',
    /repeated\.max_items\)$/,
  ),
  replicaOnly(
    'a required that was not',
    'double limit = 3 [',
    'double limit = 3 [(buf.validate.field).required = true, ',
    /\(required\)$/,
  ),
  replicaOnly(
    'a rule on the message',
    'message CountRequest {',
    'message CountRequest {\n  option (buf.validate.message).cel = {id: "a", expression: "this.limit < 5.0"};',
    /^CountRequest: a rule there may refuse what is sent from here \(cel\)$/,
  ),
  replicaOnly(
    'a rule on a oneof',
    '  oneof way {',
    '  oneof way {\n    option (buf.validate.oneof).required = true;',
    /^CountRequest\.way: a rule there may refuse/,
  ),
  {
    what: 'the words of a CEL rule',
    edits: [
      [
        'string loose = 7;',
        'string loose = 7 [(buf.validate.field).cel = {id: "x", message: "m", expression: "true"}];',
      ],
    ],
    changedReplica: [/\(cel\)$/],
    changedCoordinator: [],
  },
  coordinatorOnly(
    'a rule more in the response',
    'uint32 cells = 1;',
    'uint32 cells = 1 [(buf.validate.field).uint32.gt = 0];',
    /^CountResponse\.cells: a rule here may refuse what is answered there \(uint32\.gt\)$/,
  ),
  replicaOnly(
    'a rule less in the response',
    ', (buf.validate.field).double.finite = true',
    '',
    /^CountResponse\.area: a rule here may refuse what is answered there \(double\.finite\)$/,
  ),
  // Meaning
  both(
    'another unit',
    'unit = "px"',
    'unit = "um"',
    /^CountResponse\.area has unit "(um|px)" there, "(um|px)" here$/,
  ),
  both(
    'another kind',
    'kind = "image.raw"',
    'kind = "image.flat"',
    /^CountRequest\.image has kind "image\.(raw|flat)" there/,
  ),
  both(
    'a unit where there was none',
    'optional double score = 4;',
    'optional double score = 4 [(wellspring.contract.v1.field).unit = "1"];',
  ),
  // Enums
  both(
    'a value with another number',
    'QUALITY_BAD = 2',
    'QUALITY_BAD = 3',
    /^CountResponse\.quality: QUALITY_BAD is [23] there, [23] here$/,
  ),
  both(
    'a number with another name',
    'QUALITY_BAD = 2',
    'QUALITY_POOR = 2',
    /^CountResponse\.quality: 2 is QUALITY_(BAD|POOR) there, QUALITY_(BAD|POOR) here$/,
  ),
  both('a value more in the response', 'QUALITY_BAD = 2;', 'QUALITY_BAD = 2; QUALITY_FAIR = 3;'),
  both(
    'another name for a value beside the old one',
    'enum Quality { QUALITY_UNSPECIFIED = 0;',
    'enum Quality { option allow_alias = true; QUALITY_UNSPECIFIED = 0; QUALITY_FINE = 1;',
  ),
  {
    what: 'a value more in the response, where only defined ones are taken',
    edits: [
      [
        'Quality quality = 3;',
        'Quality quality = 3 [(buf.validate.field).enum.defined_only = true];',
      ],
    ],
    changedReplica: [],
    changedCoordinator: [/\(enum\.defined_only\)$/],
  },
  coordinatorOnly(
    'a value more in the request',
    'STAIN_ACTIN = 2;',
    'STAIN_ACTIN = 2; STAIN_ER = 3;',
    /^CountRequest\.stain: STAIN_ER may be sent, and is not known there$/,
  ),
  // Methods and policy
  replicaOnly(
    'a method less',
    '  rpc Other(OtherRequest) returns (OtherResponse);\n',
    '',
    /^method Other is not served there$/,
  ),
  both(
    'a method that streams',
    'returns (CountResponse)',
    'returns (stream CountResponse)',
    /^method Count is (unary|server_streaming) there/,
  ),
  replicaOnly(
    'a weaker purity',
    'purity: PURITY_IDEMPOTENT_BY_KEY',
    'purity: PURITY_NOT_IDEMPOTENT',
    /^method Count is NOT_IDEMPOTENT there, IDEMPOTENT_BY_KEY here$/,
  ),
  coordinatorOnly(
    'a stronger purity',
    'purity: PURITY_IDEMPOTENT_BY_KEY',
    'purity: PURITY_PURE',
    /^method Count is IDEMPOTENT_BY_KEY there, PURE here$/,
  ),
  both(
    'another level',
    'level: LEVEL_IMAGE',
    'level: LEVEL_SITE',
    /^method Count works on (IMAGE|SITE) there/,
  ),
  both('times, retries, limits', 'attempt_timeout: {seconds: 10}', 'attempt_timeout: {seconds: 3}'),
  both('the owner', 'owner: "lab"', 'owner: "us"'),
  // Errors
  both(
    'an error reason with another class',
    'class: ERROR_CLASS_POISON',
    'class: ERROR_CLASS_RETRYABLE',
    /^error reason DARK has another class there$/,
  ),
  both('an error reason with another hint', 'hint: "lamp"', 'hint: "filter"'),
  both(
    'an error reason more',
    '  COUNT_ERROR_BUSY = 2',
    '  COUNT_ERROR_NEW = 3 [(wellspring.contract.v1.error) = {class: ERROR_CLASS_POISON, code: DATA_LOSS}];\n  COUNT_ERROR_BUSY = 2',
  ),
]

let base: Contract
let changed: readonly Contract[] = []

before(async () => {
  const [first, ...others] = await versionsOf(cases.map(({ edits }) => edits))
  assert.ok(first)
  base = first
  changed = others
})

function saysOnly(found: readonly string[], wanted: readonly RegExp[]): void {
  assert.equal(found.length, wanted.length, found.join('\n'))
  for (const [index, pattern] of wanted.entries()) assert.match(found[index] ?? '', pattern)
}

for (const [index, { what, changedReplica, changedCoordinator }] of cases.entries())
  test(`${what}: ${verdict(changedReplica)} at a replica, ${verdict(changedCoordinator)} at a coordinator`, () => {
    const other = changed[index]
    assert.ok(other)
    saysOnly(differences(base, other, uses), changedReplica)
    saysOnly(differences(other, base, uses), changedCoordinator)
  })

function verdict(said: readonly RegExp[]): string {
  return said.length === 0 ? 'fits' : 'refused'
}

/** All methods; of Count's request not what a pipeline may leave unbound: loose, note. */
const uses = new Map<string, MethodUse>([
  [
    'Count',
    {
      sent: new Map(
        ['context', 'image', 'limit', 'stain', 'regions', 'name'].map((name) => [name, 'all']),
      ),
      read: new Set(['cells']),
    },
  ],
  ['Other', { sent: 'all', read: new Set() }],
])
