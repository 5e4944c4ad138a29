import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { createValidator } from "@bufbuild/protovalidate";
import { expect, test } from "vitest";
import { StartStepRequestSchema, SuspendRunRequestSchema } from "../../gen/signalbox/v1/engine_service_pb.ts";
import {
  CreateRunRequestSchema,
  ListRunsRequestSchema,
  ResumeRunRequestSchema,
  SendMessageRequestSchema,
} from "../../gen/signalbox/v1/run_service_pb.ts";

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

const runId = "run_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const leaseToken = "token";
const time = timestampFromMs(0);

test.each([
  ["a priority of 9", CreateRunRequestSchema, { handler: "echo", priority: 9 }, "valid"],
  ["a priority of 10", CreateRunRequestSchema, { handler: "echo", priority: 10 }, "invalid"],
  ["a concurrency key with NUL", CreateRunRequestSchema, { handler: "echo", concurrencyKey: "a\u0000b" }, "invalid"],
  ["a parent that is no run", CreateRunRequestSchema, { handler: "echo", parentRunId: "agt_1" }, "invalid"],
  ["a budget of nothing", ResumeRunRequestSchema, { runId, budget: {} }, "valid"],
  [
    "a budget of negative time",
    ResumeRunRequestSchema,
    { runId, budget: { maxActiveTime: { seconds: -1n } } },
    "invalid",
  ],
  ["a message without content", SendMessageRequestSchema, { runId }, "invalid"],
  ["a list by no end reason", ListRunsRequestSchema, { endReasons: [0] }, "invalid"],
  ["a suspension without conditions", SuspendRunRequestSchema, { leaseToken }, "invalid"],
  ["an empty condition", SuspendRunRequestSchema, { leaseToken, conditions: [{}] }, "invalid"],
  [
    "a wait for a time",
    SuspendRunRequestSchema,
    { leaseToken, conditions: [{ condition: { case: "time", value: time } }] },
    "valid",
  ],
  ["a wait for no children", SuspendRunRequestSchema, { leaseToken, conditions: [children()] }, "invalid"],
  [
    "a wait for a child twice",
    SuspendRunRequestSchema,
    { leaseToken, conditions: [children(runId, runId)] },
    "invalid",
  ],
  [
    "a sleep of more than 366 days",
    StartStepRequestSchema,
    { leaseToken, key: "a", delay: { seconds: 31_622_401n } },
    "invalid",
  ],
] as const)("%s is held to the rules of the contract", (_name, schema, init, kind) => {
  const message = create(
    schema as typeof ListRunsRequestSchema,
    init as MessageInitShape<typeof ListRunsRequestSchema>,
  );
  expect(validator.validate(schema as typeof ListRunsRequestSchema, message).kind).toBe(kind);
});

function children(...runIds: string[]) {
  return { condition: { case: "children", value: { runIds } } } as const;
}
