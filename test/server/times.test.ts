import { create } from "@bufbuild/protobuf";
import {
  type Duration,
  DurationSchema,
  type Timestamp,
  TimestampSchema,
  timestampFromDate,
} from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { CreateAgentRequestSchema } from "../../gen/signalbox/v1/agent_service_pb.ts";
import { SuspendRunRequestSchema } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { CreateRunRequestSchema } from "../../gen/signalbox/v1/run_service_pb.ts";
import { badTimeIn } from "../../src/server/times.ts";

const time = (seconds: bigint, nanos = 0): Timestamp => create(TimestampSchema, { seconds, nanos });
const duration = (seconds: bigint, nanos = 0): Duration => create(DurationSchema, { seconds, nanos });

describe("times", () => {
  test.each([
    timestampFromDate(new Date("0001-01-01T00:00:00Z")),
    timestampFromDate(new Date("9999-12-31T23:59:59.999Z")),
    time(0n, 999_999_999),
  ])("of the years 1 to 9999 pass: $seconds s, $nanos ns", (value) => {
    expect(badTimeIn(TimestampSchema, value)).toBeUndefined();
  });

  test.each([
    time(-62_135_596_801n),
    time(253_402_300_800n),
    time(2n ** 63n - 1n),
    time(1n, -1),
    time(1n, 1_000_000_000),
  ])("of no year are named: $seconds s, $nanos ns", (value) => {
    const conditions = [
      { condition: { case: "time", value: time(1n) } },
      { condition: { case: "time", value } },
    ] as const;
    const request = create(SuspendRunRequestSchema, { conditions: [...conditions] });
    expect(badTimeIn(SuspendRunRequestSchema, request)).toBe("conditions[1].time: is no time of the years 1 to 9999");
  });
});

describe("durations", () => {
  test.each([duration(0n), duration(315_576_000_000n, 999_999_999), duration(-1n, -1), duration(0n, -1)])(
    "of up to 10,000 years pass: $seconds s, $nanos ns",
    (value) => {
      expect(badTimeIn(DurationSchema, value)).toBeUndefined();
    },
  );

  test.each([duration(315_576_000_001n), duration(1n, -1), duration(-1n, 1), duration(1n, 1_000_000_000)])(
    "of no length are named: $seconds s, $nanos ns",
    (maxActiveTime) => {
      const request = create(CreateAgentRequestSchema, { limits: { budget: { maxActiveTime } } });
      expect(badTimeIn(CreateAgentRequestSchema, request)).toBe(
        "limits.budget.max_active_time: is no duration of up to 10,000 years",
      );
    },
  );
});

test("a message without times has nothing to be named", () => {
  expect(badTimeIn(CreateRunRequestSchema, create(CreateRunRequestSchema, { handler: "echo" }))).toBeUndefined();
});
