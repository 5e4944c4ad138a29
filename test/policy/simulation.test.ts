import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { PolicyContextSchema } from "../../gen/signalbox/v1/policy_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { evaluatePolicy } from "../../src/policy/evaluation.ts";
import { simulate } from "../../src/policy/simulation.ts";
import { policyOf } from "./judging.ts";

test("a simulation that takes too long answers what it has, and goes on from there", async () => {
  const context = create(PolicyContextSchema, { action: { type: "pay", effect: ToolEffect.READ } });
  const decision = evaluatePolicy(policyOf(""), context);
  const history = [1n, 2n, 3n].map((position) =>
    create(EventSchema, { position, payload: { case: "toolCallStarted", value: { toolCallId: "tc", decision } } }),
  );
  const policy = policyOf("forbid(principal, action, resource);");
  const read = async (after: bigint) => history.filter(({ position }) => position > after);
  const found: (readonly [bigint, boolean])[] = [];
  for (let after = 0n, complete = false; !complete;) {
    const part = await simulate({ policy, after, upTo: 3n, size: 50, read, isLate: () => true });
    found.push(...part.flips.map(({ position }) => [position, part.complete] as const));
    ({ nextPosition: after, complete } = part);
  }
  expect(found).toEqual([
    [1n, false],
    [2n, false],
    [3n, true],
  ]);
});
