// Versions of one small contract, each made by changing its text; buf builds them all at once.
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root, runTool } from '../../dev/tools.ts'
import type { Contract } from '../../proto/canonical.ts'
import { contractOf } from '../../proto/canonical.ts'
import { serviceIn } from '../../proto/descriptor-set.ts'

export const BASE = `
syntax = "proto3";
package VERSION;
import "buf/validate/validate.proto";
import "google/protobuf/any.proto";
import "google/protobuf/timestamp.proto";
import "wellspring/contract/v1/options.proto";
import "wellspring/lab/v1/artifact.proto";
import "wellspring/step/v1/call.proto";

service CountService {
  option (wellspring.contract.v1.service) = {owner: "lab", errors_enum: "VERSION.CountError"};
  rpc Count(CountRequest) returns (CountResponse) {
    option idempotency_level = IDEMPOTENT;
    option (wellspring.contract.v1.step) = {
      level: LEVEL_IMAGE, purity: PURITY_IDEMPOTENT_BY_KEY,
      attempt_timeout: {seconds: 10}, total_timeout: {seconds: 60},
      retry: {max_attempts: 5, initial_backoff: {nanos: 1000}, max_backoff: {seconds: 2}, multiplier: 2},
      flow: {max_in_flight_per_replica: 8}, on_poison: POISON_ACTION_HOLE
    };
  }
  rpc Other(OtherRequest) returns (OtherResponse);
}

enum CountError {
  COUNT_ERROR_UNSPECIFIED = 0;
  COUNT_ERROR_DARK = 1 [(wellspring.contract.v1.error) = {class: ERROR_CLASS_POISON, code: DATA_LOSS, hint: "lamp"}];
  COUNT_ERROR_BUSY = 2 [(wellspring.contract.v1.error) = {class: ERROR_CLASS_OVERLOADED, code: RESOURCE_EXHAUSTED}];
}

message CountRequest {
  wellspring.step.v1.CallContext context = 1 [(buf.validate.field).required = true];
  wellspring.lab.v1.Artifact image = 2 [(wellspring.contract.v1.field).kind = "image.raw"];
  double limit = 3 [(buf.validate.field).double = {gte: 0, lte: 16}];
  Stain stain = 4;
  repeated Region regions = 5 [(buf.validate.field).repeated.max_items = 8];
  string name = 6 [(buf.validate.field).string.max_len = 64];
  string loose = 7;
  oneof way {
    string mask = 8;
    string outline = 9;
  }
}

message CountResponse {
  uint32 cells = 1;
  double area = 2 [(wellspring.contract.v1.field).unit = "px", (buf.validate.field).double.finite = true];
  Quality quality = 3;
  optional double score = 4;
  map<string, Region> by_name = 5;
  google.protobuf.Timestamp taken_at = 6;
  repeated double sizes = 7;
  oneof kind {
    string plain = 8;
    string stained = 9;
  }
  Region whole = 10;
}

message Region {
  double x = 1;
  double y = 2;
  Region inner = 3;
}

enum Stain { STAIN_UNSPECIFIED = 0; STAIN_DNA = 1; STAIN_ACTIN = 2; }
enum Quality { QUALITY_UNSPECIFIED = 0; QUALITY_GOOD = 1; QUALITY_BAD = 2; }

message OtherRequest { string text = 1; }
message OtherResponse { string text = 1; }
`

export type Edit = readonly [find: string, replace: string]

/** The base, and it after each list of edits, in their order. Each edit's text must stand there exactly once. */
export async function versionsOf(edits: readonly (readonly Edit[])[]): Promise<Contract[]> {
  const folder = await mkdtemp(join(tmpdir(), 'wellspring-versions-'))
  try {
    const names = [[], ...edits].map((_, index) => `version${index}`)
    for (const [index, list] of [[], ...edits].entries()) {
      const text = list.reduce(edited, BASE).replaceAll('VERSION', `version${index}`)
      await mkdir(join(folder, `version${index}`))
      await writeFile(join(folder, `version${index}`, 'count.proto'), text)
    }
    const image = join(folder, 'image.binpb')
    for (const part of ['buf', 'google', 'wellspring'])
      await runTool('cp', ['-r', join(root, 'proto', part), join(folder, part)])
    const paths = names.flatMap((name) => ['--path', join(folder, name)])
    const made = await runTool('buf', [
      'build',
      folder,
      ...paths,
      '--exclude-source-info',
      '-o',
      image,
    ])
    assert.equal(made.code, 0, made.output)
    const bytes = await readFile(image)
    return names.map((name) => contractOf(serviceIn(bytes, `${name}.CountService`)))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function edited(text: string, [find, replace]: Edit): string {
  assert.equal(text.split(find).length, 2, `"${find}" stands there once`)
  return text.replace(find, () => replace)
}
