import { create } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { expect, test } from "vitest";
import { CreateRunRequestSchema, ListRunsRequestSchema } from "../../gen/signalbox/v1/run_service_pb.ts";

const validator = createValidator();

test.each([
  ["é, 😀 and quotes \" ' \\", "valid"],
  ["x".repeat(256), "valid"],
  ["x".repeat(257), "invalid"],
  // The read models could not hold it.
  ["a\u0000b", "invalid"],
])("a label of the value %j is %s", (value, kind) => {
  const labels = { label: value };
  expect(
    validator.validate(CreateRunRequestSchema, create(CreateRunRequestSchema, { handler: "echo", labels })).kind,
  ).toBe(kind);
  expect(validator.validate(ListRunsRequestSchema, create(ListRunsRequestSchema, { labels })).kind).toBe(kind);
});
