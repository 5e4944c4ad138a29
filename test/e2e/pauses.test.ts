import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import { OnExhausted, PauseReason, RunEndReason, RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { claim, createAndClaim } from "./claims.ts";
import { reasonFor, refusal } from "./refusal.ts";
import { createRun, eventTypes } from "./runs.ts";

const installation = await openInstallation({ leaseTtlMs: 1_500 });
afterAll(() => installation[Symbol.asyncDispose]());

const newClient = () => installation.client({ workspaceId: newWorkspaceId() });
const busy = { code: "BUSY", message: "try again", retryable: true };

describe("PauseRun and ResumeRun", () => {
  test("hold a queued run back until it is resumed", async () => {
    const client = newClient();
    const runId = await createRun(client, { handler: "by_hand" });
    const { run } = await client.runs.pauseRun({ runId, note: "track works" });
    expect(run).toMatchObject({
      status: RunStatus.PAUSED,
      pause: { reason: PauseReason.OPERATOR, note: "track works" },
    });
    expect(run?.pause?.pauseBy).toEqual(run?.createBy);
    const other = await createAndClaim(client);
    expect(other.run.runId).not.toBe(runId);

    expect(await client.runs.resumeRun({ runId })).toMatchObject({ run: { status: RunStatus.QUEUED } });
    const claimed = await claim(client, "by_hand");
    expect(claimed.run).toMatchObject({ runId, attempt: 1 });
  });

  test("let the worker of a running run end what is under way and give it back", async () => {
    const client = newClient();
    const { run, leaseToken } = await createAndClaim(client);
    const { step } = await client.engine.startStep({ leaseToken, key: "under way" });
    const asked = await client.runs.pauseRun({ runId: run.runId });
    expect(asked.run).toMatchObject({ status: RunStatus.RUNNING, pauseRequested: true });
    expect(await client.engine.heartbeat({ leaseToken })).toMatchObject({ pauseRequested: true });
    expect(await refusal(client.engine.startStep({ leaseToken, key: "more" }))).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "PAUSE_REQUESTED",
    });
    await client.engine.completeStep({ leaseToken, stepId: step?.stepId ?? "" });
    const released = await client.engine.releaseRun({ leaseToken });
    expect(released.run).toMatchObject({ status: RunStatus.PAUSED, failedAttempts: 0, pauseRequested: false });
    expect(await client.engine.releaseRun({ leaseToken })).toEqual(released);

    await client.runs.resumeRun({ runId: run.runId });
    const next = await claim(client, "by_hand");
    expect(next.recordedSteps).toMatchObject([{ key: "under way" }]);
  });

  test("may be repeated, and record nothing then", async () => {
    const client = newClient();
    const runId = await createRun(client, { handler: "nobody" });
    const paused = await client.runs.pauseRun({ runId });
    expect(await client.runs.pauseRun({ runId, note: "again" })).toEqual(paused);
    const resumed = await client.runs.resumeRun({ runId });
    expect(await client.runs.resumeRun({ runId })).toEqual(resumed);
    expect(await eventTypes(client, runId)).toEqual(["run.created", "run.paused", "run.resumed"]);
  });

  test("are refused for a run that has ended, and do not keep a paused one from being canceled", async () => {
    const client = newClient();
    const runId = await createRun(client, { handler: "nobody" });
    await client.runs.pauseRun({ runId });
    expect((await client.runs.cancelRun({ runId })).run).toMatchObject({ status: RunStatus.CANCELED });
    expect(await reasonFor(client.runs.pauseRun({ runId }))).toBe("INVALID_STATE");
    expect(await reasonFor(client.runs.resumeRun({ runId }))).toBe("INVALID_STATE");
  });
});

test("a run whose budget is used up is paused, and goes on with a larger one", async () => {
  const client = newClient();
  const runId = await createRun(client, { handler: "by_hand", budget: { maxTokens: 100n } });
  const { leaseToken } = await claim(client, "by_hand");
  const { step } = await client.engine.startStep({ leaseToken, key: "think" });
  const usage = { inputTokens: 90n, outputTokens: 20n };
  await client.engine.completeStep({ leaseToken, stepId: step?.stepId ?? "", usage });
  expect(await refusal(client.engine.startStep({ leaseToken, key: "think more" }))).toMatchObject({
    reason: "BUDGET_EXCEEDED",
    metadata: { limit: "max_tokens" },
  });
  const { run } = await client.engine.releaseRun({ leaseToken });
  expect(run).toMatchObject({ status: RunStatus.PAUSED, pause: { reason: PauseReason.BUDGET } });
  expect(await reasonFor(client.runs.resumeRun({ runId }))).toBe("INVALID_STATE");

  await client.runs.resumeRun({ runId, budget: { maxTokens: 1_000n } });
  const next = await claim(client, "by_hand");
  await client.engine.startStep({ leaseToken: next.leaseToken, key: "think more" });
  const done = await client.engine.completeRun({ leaseToken: next.leaseToken });
  expect(done.run).toMatchObject({ status: RunStatus.SUCCEEDED, usage: { steps: 2n, inputTokens: 90n } });
});

test("a run that is to be paused when its attempts are used up waits for somebody, who retries it", async () => {
  const client = newClient();
  const retryPolicy = { maxAttempts: 1, onExhausted: OnExhausted.PAUSE };
  const runId = await createRun(client, { handler: "by_hand", retryPolicy });
  const { leaseToken } = await claim(client, "by_hand");
  const { run } = await client.engine.failRun({ leaseToken, error: busy });
  expect(run).toMatchObject({
    status: RunStatus.PAUSED,
    failedAttempts: 1,
    error: busy,
    pause: { reason: PauseReason.ATTEMPTS_EXHAUSTED },
  });
  const retried = await client.runs.retryRun({ runId, note: "the line is clear" });
  expect(retried.run).toMatchObject({ runId, status: RunStatus.QUEUED, failedAttempts: 0 });
  const next = await claim(client, "by_hand");
  await client.engine.completeRun({ leaseToken: next.leaseToken, output: jsonValue("done") });
  expect(await eventTypes(client, runId)).toEqual([
    "run.created",
    "run.claimed",
    "run.paused",
    "run.resumed",
    "run.claimed",
    "run.succeeded",
  ]);
});

test("dead runs are listed by the reason of their end", async () => {
  const client = newClient();
  await createRun(client, { handler: "by_hand", retryPolicy: { maxAttempts: 1 }, queue: "default" });
  const { run, leaseToken } = await claim(client, "by_hand");
  const { position } = await client.engine.failRun({ leaseToken, error: busy });
  const canceled = await createRun(client, { handler: "nobody" });
  const { position: minPosition } = await client.runs.cancelRun({ runId: canceled });
  expect(minPosition).toBeGreaterThan(position);
  const list = async (...endReasons: RunEndReason[]) =>
    (await client.runs.listRuns({ endReasons, minPosition })).runs.map(({ runId }) => runId);
  expect(await list(RunEndReason.ATTEMPTS_EXHAUSTED)).toEqual([run.runId]);
  expect(await list(RunEndReason.CANCELED, RunEndReason.ATTEMPTS_EXHAUSTED)).toEqual([canceled, run.runId]);
  expect(await list(RunEndReason.COMPLETED)).toEqual([]);
});
