import { timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import { RunStatus, StepKind, StepStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, valueToJson } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { claim, createAndClaim } from "./claims.ts";
import { reasonFor, refusal } from "./refusal.ts";
import { createRun, eventTypes } from "./runs.ts";

const installation = await openInstallation({ leaseTtlMs: 1_500 });
afterAll(() => installation[Symbol.asyncDispose]());

const newClient = () => installation.client({ workspaceId: newWorkspaceId() });
const nextMessage = { condition: { case: "message", value: {} } } as const;
const until = (ms: number) => ({ condition: { case: "time", value: timestampFromMs(ms) } }) as const;
const children = (...runIds: string[]) => ({ condition: { case: "children", value: { runIds } } }) as const;

describe("SuspendRun", () => {
  test("gives the lease back: the worker is fenced out, and asks again without harm", async () => {
    const client = newClient();
    const { run, leaseToken } = await createAndClaim(client);
    await client.engine.startStep({ leaseToken, key: "message", kind: StepKind.MESSAGE });
    const request = { leaseToken, conditions: [nextMessage] };
    const suspended = await client.engine.suspendRun(request);
    expect(suspended).toMatchObject({ suspended: true, holding: [], run: { status: RunStatus.WAITING, workerId: "" } });
    expect(suspended.run?.waitingOn?.conditions).toHaveLength(1);
    expect(await client.engine.suspendRun(request)).toEqual(suspended);
    expect(await reasonFor(client.engine.heartbeat({ leaseToken }))).toBe("LEASE_LOST");
    expect(await reasonFor(client.engine.completeRun({ leaseToken }))).toBe("LEASE_LOST");
    const nothing = await client.engine.claimRun({ handlers: ["by_hand"], workerId: "b", maxWait: { seconds: 0n } });
    expect(nothing.run).toBeUndefined();
    const { steps } = await client.runs.listSteps({ runId: run.runId, minPosition: suspended.position });
    expect(steps).toMatchObject([{ kind: StepKind.MESSAGE, status: StepStatus.ABANDONED }]);
  });

  test("says which conditions hold already, and leaves the lease alone", async () => {
    const client = newClient();
    const { run, leaseToken } = await createAndClaim(client);
    await client.runs.sendMessage({ runId: run.runId, content: jsonValue("hello") });
    const conditions = [until(Date.now() + 3_600_000), nextMessage, until(1_000)];
    const answer = await client.engine.suspendRun({ leaseToken, conditions });
    expect(answer).toMatchObject({ suspended: false, holding: [1, 2], run: { status: RunStatus.RUNNING } });
    expect((await client.engine.completeRun({ leaseToken })).run?.status).toBe(RunStatus.SUCCEEDED);
    expect(await eventTypes(client, run.runId)).not.toContain("run.suspended");
  });

  test("pauses a run that was asked to", async () => {
    const client = newClient();
    const { run, leaseToken } = await createAndClaim(client);
    await client.runs.pauseRun({ runId: run.runId });
    const answer = await client.engine.suspendRun({ leaseToken, conditions: [nextMessage] });
    expect(answer).toMatchObject({ suspended: true, run: { status: RunStatus.PAUSED } });
  });

  test("is refused for a child that no step of the run has started", async () => {
    const client = newClient();
    const { leaseToken } = await createAndClaim(client);
    const stranger = await createRun(client, { handler: "nobody" });
    expect(await refusal(client.engine.suspendRun({ leaseToken, conditions: [children(stranger)] }))).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "INVALID_STATE",
    });
  });
});

describe("SendMessage", () => {
  test("wakes the run that waits for it, which gets it with its next claim", async () => {
    const client = newClient();
    const { run, leaseToken } = await createAndClaim(client);
    await client.engine.suspendRun({ leaseToken, conditions: [nextMessage] });
    const sent = await client.runs.sendMessage({ runId: run.runId, content: jsonValue({ answer: 42 }) });
    expect(sent).toMatchObject({ message: { number: 1, threadId: "" }, run: { status: RunStatus.QUEUED } });
    const next = await claim(client, "by_hand");
    expect(next).toMatchObject({ run: { attempt: 2, failedAttempts: 0 }, messagesComplete: true });
    expect(next.messages).toEqual([sent.message]);
    expect(valueToJson(next.messages[0]?.content)).toEqual({ answer: 42 });
    expect(timestampDate(next.serverTime!).getTime()).toBeGreaterThan(0);
  });

  test("is repeatable with a request_id, and refused when it says something else", async () => {
    const client = newClient();
    const runId = await createRun(client, { handler: "nobody" });
    const request = { runId, requestId: "message-1", content: jsonValue("hello") };
    const first = await client.runs.sendMessage(request);
    expect(await client.runs.sendMessage(request)).toEqual(first);
    expect(await reasonFor(client.runs.sendMessage({ ...request, content: jsonValue("no") }))).toBe(
      "REQUEST_ID_REUSED",
    );
    const { message } = await client.runs.sendMessage({ runId, content: jsonValue("hello") });
    expect(message?.number).toBe(2);
    await client.runs.cancelRun({ runId });
    expect(await reasonFor(client.runs.sendMessage({ runId, content: jsonValue("late") }))).toBe("INVALID_STATE");
  });

  test("is kept in order of its thread, and what does not fit into a claim is left out, the newest first", async () => {
    const client = newClient();
    const runId = await createRun(client, { handler: "by_hand" });
    const content = jsonValue("x".repeat(900_000));
    for (const threadId of ["th_a", "th_b", "th_a"]) await client.runs.sendMessage({ runId, threadId, content });
    const claimed = await claim(client, "by_hand");
    expect(claimed.messagesComplete).toBe(false);
    expect(claimed.messages.map(({ threadId, number }) => [threadId, number])).toEqual([
      ["th_a", 1],
      ["th_b", 1],
    ]);
  });
});

test("a claim reads a part of what the run was told only, and says so", async () => {
  const client = newClient();
  const runId = await createRun(client, { handler: "by_hand" });
  const content = jsonValue("x".repeat(900_000));
  for (let number = 1; number <= 12; number++) await client.runs.sendMessage({ runId, content });
  const { leaseToken } = await claim(client, "by_hand");
  // Recorded behind the messages: as good as on record, though the next claim does not get as far.
  const { step } = await client.engine.startStep({ leaseToken, key: "late" });
  await client.engine.completeStep({ leaseToken, stepId: step?.stepId ?? "", output: jsonValue("done") });
  await client.engine.releaseRun({ leaseToken });
  const next = await claim(client, "by_hand");
  expect(next).toMatchObject({ messagesComplete: false, recordedStepsComplete: false });
  expect(next.messages).toHaveLength(2);
  expect(next.recordedSteps).toMatchObject([{ key: "late", outputOmitted: true }]);
  const again = await client.engine.startStep({ leaseToken: next.leaseToken, key: "late" });
  expect(valueToJson(again.step?.output)).toBe("done");
});

describe("a child run", () => {
  test("needs a parent that is there and goes on", async () => {
    const client = newClient();
    const { run, leaseToken } = await createAndClaim(client);
    const parentRunId = run.runId;
    const child = await client.runs.createRun({ handler: "nobody", parentRunId });
    expect(child.run).toMatchObject({ parentRunId, depth: 1 });
    const { runs } = await client.runs.listRuns({ parentRunId, minPosition: child.position });
    expect(runs.map(({ runId }) => runId)).toEqual([child.run?.runId]);
    const unknown = "run_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    expect(await reasonFor(client.runs.createRun({ handler: "nobody", parentRunId: unknown }))).toBe("RUN_NOT_FOUND");
    await client.engine.completeRun({ leaseToken });
    expect(await reasonFor(client.runs.createRun({ handler: "nobody", parentRunId }))).toBe("INVALID_STATE");
  });

  test("is answered to a repeat even when its parent has ended", async () => {
    const client = newClient();
    const parentRunId = await createRun(client, { handler: "nobody" });
    const request = { handler: "nobody", parentRunId, requestId: "child-1" };
    const first = await client.runs.createRun(request);
    await client.runs.cancelRun({ runId: parentRunId });
    const again = await client.runs.createRun(request);
    expect(again.run?.runId).toBe(first.run?.runId);
  });

  test("has 32 runs above it at most, so that a run that starts itself comes to an end", async () => {
    const client = newClient();
    let parentRunId = await createRun(client, { handler: "nobody" });
    for (let depth = 1; depth <= 32; depth++) parentRunId = await createRun(client, { handler: "nobody", parentRunId });
    expect(await refusal(client.runs.createRun({ handler: "nobody", parentRunId }))).toMatchObject({
      code: Code.ResourceExhausted,
      reason: "QUOTA_EXCEEDED",
    });
  });

  test("is waited for by a step of its parent only", async () => {
    const client = newClient();
    const { run, leaseToken } = await createAndClaim(client);
    const childRunId = await createRun(client, { handler: "nobody", parentRunId: run.runId });
    const stranger = await createRun(client, { handler: "nobody" });
    const start = (request: { childRunId?: string }) =>
      client.engine.startStep({ leaseToken, key: "child", kind: StepKind.RUN, ...request });
    expect(await reasonFor(start({ childRunId: stranger }))).toBe("INVALID_STATE");
    // Before the child is created, a step can tell whether a base run has its result.
    expect((await start({})).step).toMatchObject({ childRunId: "", status: StepStatus.RUNNING });
    expect(await reasonFor(start({ childRunId: stranger }))).toBe("INVALID_STATE");
    const started = await start({ childRunId });
    expect(started.step).toMatchObject({ childRunId, status: StepStatus.RUNNING, attempt: 2 });
    expect(await start({ childRunId })).toEqual(started);
    expect((await start({ childRunId: "" })).step).toEqual(started.step);
    const { suspended } = await client.engine.suspendRun({ leaseToken, conditions: [children(childRunId)] });
    expect(suspended).toBe(true);
  });
});

test("a sleep says when it is over, from its first start on", async () => {
  const client = newClient();
  const { leaseToken } = await createAndClaim(client);
  const sleep = { leaseToken, key: "sleep", kind: StepKind.SLEEP };
  const { step } = await client.engine.startStep({ ...sleep, delay: { seconds: 60n } });
  const wakeTime = timestampDate(step!.wakeTime!).getTime();
  expect(wakeTime - timestampDate(step!.startTime!).getTime()).toBe(60_000);
  expect(await reasonFor(client.engine.startStep({ ...sleep, key: "other" }))).toBe("INVALID_REQUEST");
  const mixed = { leaseToken, key: "third", delay: { seconds: 1n } };
  expect(await reasonFor(client.engine.startStep(mixed))).toBe("INVALID_REQUEST");
});
