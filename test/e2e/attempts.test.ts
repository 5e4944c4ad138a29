import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { afterAll, describe, expect, test } from "vitest";
import { RunEndReason, RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, valueToJson } from "../../src/client/client.ts";
import { type HandlerContext, HandlerError } from "../../src/engine/worker.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { claim, createAndClaim } from "./claims.ts";
import { createRun, ended, eventTypes } from "./runs.ts";

const installation = await openInstallation({ leaseTtlMs: 1_500 });
afterAll(() => installation[Symbol.asyncDispose]());

function newWorkspace() {
  const workspaceId = newWorkspaceId();
  return { workspaceId, client: installation.client({ workspaceId }) };
}

describe("failures", () => {
  const retryPolicy = { maxAttempts: 3, initialBackoff: durationFromMs(50), maxBackoff: durationFromMs(100) };

  test("are repeated with growing pauses until the run succeeds", async () => {
    const { client, workspaceId } = newWorkspace();
    await using _worker = installation.worker({ workspaceId });
    const input = jsonValue({ failures: 2 });
    const runId = await createRun(client, { handler: "flaky", input, retryPolicy });
    const run = await ended(client, runId);
    expect(run).toMatchObject({ status: RunStatus.SUCCEEDED, attempt: 3, failedAttempts: 2 });
    expect(valueToJson(run.output)).toEqual({ attempts: 3 });
    const { events } = await client.events.listEvents({ filter: { runId } });
    expect(events.map(({ type }) => type)).toEqual([
      "run.created",
      "run.claimed",
      "run.attempt_failed",
      "run.claimed",
      "run.attempt_failed",
      "run.claimed",
      "run.succeeded",
    ]);
    const pauses = events.flatMap(({ createTime, payload }) =>
      payload.case === "runAttemptFailed" ? timestampMs(payload.value.availableTime!) - timestampMs(createTime!) : [],
    );
    expect(pauses).toEqual([50, 100]);
    for (const [index, event] of events.entries()) {
      const before = events[index - 1];
      if (event.payload.case !== "runClaimed" || before?.payload.case !== "runAttemptFailed") continue;
      const availableTime = timestampMs(before.payload.value.availableTime!);
      expect(timestampMs(event.createTime!)).toBeGreaterThanOrEqual(availableTime);
    }
  });

  test("end the run when the attempts are exhausted, with the last error", async () => {
    const { client, workspaceId } = newWorkspace();
    await using _worker = installation.worker({ workspaceId });
    const input = jsonValue({ failures: 9 });
    const run = await ended(client, await createRun(client, { handler: "flaky", input, retryPolicy }));
    expect(run).toMatchObject({
      status: RunStatus.FAILED,
      endReason: RunEndReason.ATTEMPTS_EXHAUSTED,
      attempt: 3,
      failedAttempts: 3,
      error: { code: "FLAKY", message: "failure 3 of 9, as asked" },
    });
  });

  test.each([
    ["its handler says that it can not help", new HandlerError("BAD_INPUT", "no use", { retryable: false }), {}],
    ["the policy names its code", new HandlerError("QUOTA", "try later"), { nonRetryableCodes: ["QUOTA"] }],
  ])("are not repeated when %s", async (_name, error, policy) => {
    const { client, workspaceId } = newWorkspace();
    const handlers = { failing: () => Promise.reject(error) };
    await using _worker = installation.worker({ workspaceId, handlers });
    const runId = await createRun(client, { handler: "failing", retryPolicy: { ...retryPolicy, ...policy } });
    expect(await ended(client, runId)).toMatchObject({
      status: RunStatus.FAILED,
      endReason: RunEndReason.HANDLER_FAILED,
      attempt: 1,
      error: { code: error.code, message: error.message },
    });
  });

  test("keep the last error in sight while the next attempt waits", async () => {
    const { client } = newWorkspace();
    const waiting = { ...retryPolicy, initialBackoff: { seconds: 60n }, maxBackoff: { seconds: 60n } };
    const runId = await createRun(client, { handler: "by_hand", retryPolicy: waiting });
    const { leaseToken } = await claim(client, "by_hand");
    const error = { code: "FLAKY", message: "come back later", retryable: true };
    await client.engine.failRun({ leaseToken, error });
    const { run } = await client.runs.getRun({ runId });
    expect(run).toMatchObject({ status: RunStatus.QUEUED, failedAttempts: 1, error });
    expect(timestampMs(run!.availableTime!)).toBeGreaterThan(timestampMs(run!.startTime!));
    const nothing = await client.engine.claimRun({
      handlers: ["by_hand"],
      workerId: "w",
      maxWait: durationFromMs(100),
    });
    expect(nothing.run).toBeUndefined();
  });

  test("reported twice count once", async () => {
    const { client } = newWorkspace();
    const { run, leaseToken } = await createAndClaim(client);
    const error = { code: "FLAKY", message: "once", retryable: true };
    const first = await client.engine.failRun({ leaseToken, error });
    const second = await client.engine.failRun({ leaseToken, error });
    expect(second).toEqual(first);
    expect((await eventTypes(client, run.runId)).filter((type) => type === "run.attempt_failed")).toHaveLength(1);
  });
});

test("a run that was given back does not count as failed, and waits as long as it was told to", async () => {
  const { client } = newWorkspace();
  const { run, leaseToken } = await createAndClaim(client);
  const released = await client.engine.releaseRun({ leaseToken, reason: "shutting down", delay: durationFromMs(200) });
  expect(released.run).toMatchObject({ status: RunStatus.QUEUED, attempt: 1, failedAttempts: 0 });
  const again = await claim(client, "by_hand");
  expect(again.run).toMatchObject({ runId: run.runId, attempt: 2, failedAttempts: 0 });
  expect(timestampMs(again.run.startTime!)).toBe(timestampMs(run.startTime!));
  await client.engine.completeRun({ leaseToken: again.leaseToken });
  const { events } = await client.events.listEvents({ filter: { runId: run.runId, types: ["run.claimed"] } });
  expect(timestampMs(events[1]!.createTime!)).toBeGreaterThanOrEqual(timestampMs(released.run!.availableTime!));
});

test("a worker that is told to stop gives its runs back", async () => {
  const { client, workspaceId } = newWorkspace();
  const untilStopped = ({ signal }: HandlerContext) =>
    new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
  const worker = installation.worker({ workspaceId, drainTimeoutMs: 50, handlers: { busy: untilStopped } });
  const runId = await createRun(client, { handler: "busy" });
  await until(async () => (await client.runs.getRun({ runId })).run?.status === RunStatus.RUNNING, { what: "a claim" });
  await worker[Symbol.asyncDispose]();
  expect(await client.runs.getRun({ runId })).toMatchObject({ run: { status: RunStatus.QUEUED, failedAttempts: 0 } });
});

test("a run is claimed from its own queue only", async () => {
  const { client } = newWorkspace();
  const runId = await createRun(client, { handler: "by_hand", queue: "gpu" });
  const wrong = { handlers: ["by_hand"], workerId: "w", maxWait: durationFromMs(100) };
  expect((await client.engine.claimRun(wrong)).run).toBeUndefined();
  expect(await client.engine.claimRun({ ...wrong, queues: ["gpu"], maxWait: { seconds: 5n } })).toMatchObject({
    run: { runId },
  });
});

test("many runs and several workers: every run ends exactly once", async () => {
  const { client, workspaceId } = newWorkspace();
  await using _first = installation.worker({ workspaceId, concurrency: 10 });
  await using _second = installation.worker({ workspaceId, concurrency: 10 });
  const runIds = await Promise.all(
    Array.from({ length: 100 }, (_, n) => createRun(client, { handler: "echo", input: jsonValue({ n }) })),
  );
  const runs = await Promise.all(runIds.map((runId) => ended(client, runId)));
  expect(runs.map(({ output }) => valueToJson(output))).toEqual(runIds.map((_, n) => ({ n })));
  expect(runs.every(({ attempt }) => attempt === 1)).toBe(true);
  const position = runs.reduce((max, run) => (run.position > max ? run.position : max), 0n);
  const types = ["run.succeeded", "run.failed", "run.canceled"];
  const { events } = await client.events.listEvents({ filter: { types }, minPosition: position, pageSize: 200 });
  expect(events).toHaveLength(100);
});
