import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { PrincipalSchema } from "../../gen/signalbox/v1/common_pb.ts";
import { type Aggregates, createAggregates } from "../../src/eventlog/aggregates.ts";
import { createEventLog } from "../../src/eventlog/event-log.ts";
import { createMemoryStore } from "../../src/eventlog/memory-store.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import { sha256 } from "../../src/kernel/digest.ts";
import { randomIds as ids } from "../../src/kernel/ids.ts";
import { receiveMessage } from "../../src/runs/message-decider.ts";
import { type RunState, runAggregate } from "../../src/runs/state.ts";
import { completeStep } from "../../src/runs/step-decider.ts";
import { claimed, created, type Decide, ref, stepStarted, text } from "./scenario.ts";

const large = text("x".repeat(500_000));

const said =
  (number: number): Decide =>
  (state) => {
    const requestDigest = sha256(Buffer.from(String(number)));
    return receiveMessage(state, "run_1", { messageId: `msg_${number}`, threadId: "", content: large, requestDigest });
  };

async function runTo(aggregates: Aggregates<RunState>, ...decisions: Decide[]) {
  const call = { workspaceId: "ws_test", principal: create(PrincipalSchema), correlationId: "c", traceparent: "" };
  for (const decide of decisions) await aggregates.execute({ call, id: "run_1", decide });
}

test("a run that was told far more than a server remembers is remembered all the same: what is large stays in the log", async () => {
  const log = createEventLog(createMemoryStore(), createSubjects());
  const deps = { log, clock: { now: () => new Date() }, ids };
  const aggregates = createAggregates(runAggregate, { ...deps, cacheBytes: 100_000 });
  const done: Decide = (state) => completeStep(state, ref("1"), { stepId: "step_1", output: large, usage: undefined });
  await runTo(aggregates, created(), claimed("1"), stepStarted("1", "1", { input: large }), done);
  await runTo(aggregates, ...Array.from({ length: 10 }, (_, index) => said(index + 1)));
  const { state, sizeBytes } = aggregates.cached("ws_test", "run_1") ?? {};
  expect(sizeBytes).toBeLessThan(50_000);
  if (state === undefined || state.status === "absent") throw new Error("the run is not remembered");
  expect(state.messages.count).toBe(10);
  const [{ requestDigest } = { requestDigest: new Uint8Array() }] = state.messages.repeatable.values();
  expect(requestDigest.buffer.byteLength).toBe(32);
});
