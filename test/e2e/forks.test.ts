import { afterAll, describe, expect, test } from "vitest";
import { RunStatus, StepKind, StepStatus, ToolCallStatus, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, type SignalboxClient, valueToJson } from "../../src/client/client.ts";
import { HandlerError } from "../../src/engine/worker.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { openGate } from "../support/open-gate.ts";
import { type Claim, claim, createAndClaim } from "./claims.ts";
import { reasonFor } from "./refusal.ts";
import { createRun, ended, eventTypes } from "./runs.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

const newClient = () => installation.client({ workspaceId: newWorkspaceId() });
const error = { code: "WRONG", message: "never", retryable: false };
const mail = { key: "mail", tool: "mail", effect: ToolEffect.EXTERNAL_WRITE };

/** Does a step to its end; answers where the log stood then. */
async function doStep(client: SignalboxClient, { leaseToken }: Claim, key: string, output: string): Promise<bigint> {
  const { step } = await client.engine.startStep({ leaseToken, key });
  const done = { leaseToken, stepId: step?.stepId ?? "", output: jsonValue(output) };
  return (await client.engine.completeStep(done)).position;
}

/** A run that has done a step and a tool call, and then failed for good. */
async function failedRun(client: SignalboxClient): Promise<Claim> {
  await client.runs.createRun({
    handler: "by_hand",
    input: jsonValue("in"),
    labels: { line: "4" },
    priority: 3,
    maxDuration: { seconds: 3_600n },
    budget: { maxSteps: 9n },
  });
  const claimed = await claim(client, "by_hand");
  const { leaseToken } = claimed;
  await doStep(client, claimed, "one", "first");
  await openGate(client);
  const { toolCall } = await client.engine.startToolCall({ leaseToken, ...mail, arguments: jsonValue("to ada") });
  const toolCallId = toolCall?.toolCallId ?? "";
  await client.engine.succeedToolCall({ leaseToken, toolCallId, result: jsonValue("sent") });
  await client.engine.startStep({ leaseToken, key: "two" });
  await client.engine.failRun({ leaseToken, error });
  return claimed;
}

describe("RetryRun of a failed run", () => {
  test("is another run with the same request, on top of the record of the old one", async () => {
    const client = newClient();
    const old = await failedRun(client);
    const before = (await client.runs.getRun({ runId: old.run.runId })).run;
    const { run } = await client.runs.retryRun({ runId: old.run.runId });
    expect(run).toMatchObject({
      status: RunStatus.QUEUED,
      baseRunId: old.run.runId,
      basePosition: before?.position,
      input: jsonValue("in"),
      labels: { line: "4" },
      priority: 3,
      budget: { maxSteps: 9n },
      usage: { steps: 0n },
    });
    expect(run?.runId).not.toBe(old.run.runId);
    expect(run?.deadlineTime).toBeDefined();

    const next = await claim(client, "by_hand");
    const { leaseToken } = next;
    const one = await client.engine.startStep({ leaseToken, key: "one", sequence: 1 });
    expect(one.step).toMatchObject({
      status: StepStatus.COMPLETED,
      output: jsonValue("first"),
      reusedFromRunId: old.run.runId,
      sequence: 1,
    });
    expect(await client.engine.startStep({ leaseToken, key: "one", sequence: 1 })).toEqual(one);
    const { toolCall } = await client.engine.startToolCall({ leaseToken, ...mail });
    expect(toolCall).toMatchObject({
      status: ToolCallStatus.SUCCEEDED,
      result: jsonValue("sent"),
      reusedFromRunId: old.run.runId,
    });
    // What the old run had not finished is done here.
    expect((await client.engine.startStep({ leaseToken, key: "two" })).step?.status).toBe(StepStatus.RUNNING);
    expect(await eventTypes(client, next.run.runId)).toEqual([
      "run.created",
      "run.claimed",
      "step.reused",
      "tool_call.reused",
      "step.started",
    ]);
  });

  test("answers the same run again, and leaves the old one as it was", async () => {
    const client = newClient();
    const { run } = await failedRun(client);
    const first = await client.runs.retryRun({ runId: run.runId });
    expect(await client.runs.retryRun({ runId: run.runId, note: "again" })).toEqual(first);
    expect((await client.runs.getRun({ runId: run.runId })).run?.status).toBe(RunStatus.FAILED);
  });

  test("of a retry finds what the first one did", async () => {
    const client = newClient();
    const first = await failedRun(client);
    await client.runs.retryRun({ runId: first.run.runId });
    const second = await claim(client, "by_hand");
    await doStep(client, second, "two", "second");
    await client.engine.failRun({ leaseToken: second.leaseToken, error });
    await client.runs.retryRun({ runId: second.run.runId });
    const { leaseToken } = await claim(client, "by_hand");
    // The second one never asked for the first step: it stands on the record of the first alone.
    const [one, two] = await Promise.all([
      client.engine.startStep({ leaseToken, key: "one" }),
      client.engine.startStep({ leaseToken, key: "two" }),
    ]);
    expect(one.step).toMatchObject({ output: jsonValue("first"), reusedFromRunId: first.run.runId });
    expect(two.step).toMatchObject({ output: jsonValue("second"), reusedFromRunId: second.run.runId });
  });

  test("is refused for a run that goes on or has succeeded", async () => {
    const client = newClient();
    const { run, leaseToken } = await createAndClaim(client);
    expect(await reasonFor(client.runs.retryRun({ runId: run.runId }))).toBe("INVALID_STATE");
    await client.engine.completeRun({ leaseToken });
    expect(await reasonFor(client.runs.retryRun({ runId: run.runId }))).toBe("INVALID_STATE");
  });
});

test("a retried run takes the results of its children from the record, and does not run them again", async () => {
  const workspaceId = newWorkspaceId();
  const client = installation.client({ workspaceId });
  let children = 0;
  let failing = true;
  await using _worker = installation.worker({
    workspaceId,
    handlers: {
      child: () => `child ${++children}`,
      async parent(ctx) {
        const first = await ctx.run({ handler: "child" });
        if (failing) throw new HandlerError("WRONG", "not yet", { retryable: false });
        return [first, await ctx.run({ handler: "child" })];
      },
    },
  });
  const runId = await createRun(client, { handler: "parent" });
  expect(await ended(client, runId)).toMatchObject({ status: RunStatus.FAILED });
  failing = false;
  const { run } = await client.runs.retryRun({ runId });
  const retried = await ended(client, run?.runId ?? "");
  expect(retried.output && valueToJson(retried.output)).toEqual(["child 1", "child 2"]);
  expect(await eventTypes(client, retried.runId)).toContain("step.reused");
});

describe("ForkRun", () => {
  test("takes the record up to the position and no further, with another input", async () => {
    const client = newClient();
    const base = await createAndClaim(client);
    const position = await doStep(client, base, "one", "first");
    await doStep(client, base, "two", "second");
    await client.engine.completeRun({ leaseToken: base.leaseToken });
    const { run } = await client.runs.forkRun({ runId: base.run.runId, position, input: jsonValue("other") });
    expect(run).toMatchObject({ input: jsonValue("other"), baseRunId: base.run.runId, basePosition: position });
    const { leaseToken } = await claim(client, "by_hand");
    expect((await client.engine.startStep({ leaseToken, key: "one" })).step?.status).toBe(StepStatus.COMPLETED);
    expect((await client.engine.startStep({ leaseToken, key: "two" })).step?.status).toBe(StepStatus.RUNNING);
  });

  test("does not take a step for one of another kind", async () => {
    const client = newClient();
    const base = await createAndClaim(client);
    await doStep(client, base, "one", "first");
    await client.runs.forkRun({ runId: base.run.runId });
    const { leaseToken } = await claim(client, "by_hand");
    const { step } = await client.engine.startStep({ leaseToken, key: "one", kind: StepKind.MODEL });
    expect(step?.status).toBe(StepStatus.RUNNING);
  });

  test("is repeatable with a request_id, and refused when it says something else", async () => {
    const client = newClient();
    const runId = await createRun(client, { handler: "nobody" });
    const request = { runId, requestId: "fork-1" };
    const first = await client.runs.forkRun(request);
    expect(await client.runs.forkRun(request)).toEqual(first);
    expect(await reasonFor(client.runs.forkRun({ ...request, input: jsonValue(1) }))).toBe("REQUEST_ID_REUSED");
    const { run } = await client.runs.forkRun({ runId });
    expect(run?.runId).not.toBe(first.run?.runId);
  });
});
