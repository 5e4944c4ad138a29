import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import { RunEndReason, RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue } from "../../src/client/client.ts";
import { RunStoppedError } from "../../src/engine/worker.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { claim, createAndClaim } from "./claims.ts";
import { reasonFor, refusal } from "./refusal.ts";
import { createRun, ended, eventTypes } from "./runs.ts";

const installation = await openInstallation({ leaseTtlMs: 1_500 });
afterAll(() => installation[Symbol.asyncDispose]());

function newWorkspace() {
  const workspaceId = newWorkspaceId();
  return { workspaceId, client: installation.client({ workspaceId }) };
}

describe("WaitRun", () => {
  test("answers with the run as it is when the time is up", async () => {
    const { client } = newWorkspace();
    const runId = await createRun(client, { handler: "nobody" });
    const { run } = await client.runs.waitRun({ runId, timeout: durationFromMs(50) });
    expect(run).toMatchObject({ runId, status: RunStatus.QUEUED });
  });

  test("answers at once for a run that has ended", async () => {
    const { client } = newWorkspace();
    const runId = await createRun(client, { handler: "nobody" });
    await client.runs.cancelRun({ runId });
    const { run } = await client.runs.waitRun({ runId, timeout: durationFromMs(0) });
    expect(run).toMatchObject({ status: RunStatus.CANCELED });
  });

  test("answers many who wait for one run", async () => {
    const { client } = newWorkspace();
    const runId = await createRun(client, { handler: "by_hand" });
    const waiting = Array.from({ length: 20 }, () => ended(client, runId));
    const { leaseToken } = await claim(client, "by_hand");
    await client.engine.completeRun({ leaseToken, output: jsonValue("done") });
    for (const run of await Promise.all(waiting)) expect(run).toMatchObject({ status: RunStatus.SUCCEEDED });
  });
});

describe("CancelRun", () => {
  test("ends a queued run, and no worker gets it any more", async () => {
    const { client } = newWorkspace();
    const runId = await createRun(client, { handler: "by_hand" });
    const { run } = await client.runs.cancelRun({ runId, reason: "changed my mind" });
    expect(run).toMatchObject({ status: RunStatus.CANCELED, endReason: RunEndReason.CANCELED });
    const next = await createAndClaim(client);
    expect(next.run.runId).not.toBe(runId);
    const { events } = await client.events.listEvents({ filter: { runId } });
    expect(events.map(({ payload }) => payload)).toMatchObject([
      { case: "runCreated" },
      { case: "runCanceled", value: { reason: "changed my mind" } },
    ]);
  });

  test("ends a running run: its handler's signal aborts, and nothing that it writes later is recorded", async () => {
    const { client, workspaceId } = newWorkspace();
    const started = Promise.withResolvers<void>();
    const stopped = Promise.withResolvers<unknown>();
    const late = Promise.withResolvers<unknown>();
    await using _worker = installation.worker({
      workspaceId,
      handlers: {
        async stubborn(ctx) {
          started.resolve();
          await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
          stopped.resolve(ctx.signal.reason);
          await ctx.step("late", () => 1).catch(late.resolve);
          return "late output";
        },
      },
    });
    const runId = await createRun(client, { handler: "stubborn" });
    await started.promise;
    await client.runs.cancelRun({ runId });
    expect(await stopped.promise).toBeInstanceOf(RunStoppedError);
    expect(await stopped.promise).toMatchObject({ why: "canceled" });
    expect(await late.promise).toBeInstanceOf(RunStoppedError);
    expect(await eventTypes(client, runId)).toEqual(["run.created", "run.claimed", "run.canceled"]);
  });

  test("fences the lease out: a heartbeat says so, every write is LEASE_LOST", async () => {
    const { client } = newWorkspace();
    const { run, leaseToken } = await createAndClaim(client);
    await client.runs.cancelRun({ runId: run.runId });
    expect(await client.engine.heartbeat({ leaseToken })).toMatchObject({ cancelRequested: true });
    expect(await reasonFor(client.engine.startStep({ leaseToken, key: "a" }))).toBe("LEASE_LOST");
    expect(await reasonFor(client.engine.completeRun({ leaseToken }))).toBe("LEASE_LOST");
    expect(await reasonFor(client.engine.releaseRun({ leaseToken }))).toBe("LEASE_LOST");
  });

  test("may be repeated, and records nothing then", async () => {
    const { client } = newWorkspace();
    const runId = await createRun(client, { handler: "nobody" });
    const first = await client.runs.cancelRun({ runId });
    const second = await client.runs.cancelRun({ runId, reason: "again" });
    expect(second).toEqual(first);
    expect(await eventTypes(client, runId)).toEqual(["run.created", "run.canceled"]);
  });

  test("is refused for a run that has succeeded", async () => {
    const { client } = newWorkspace();
    const { run, leaseToken } = await createAndClaim(client);
    await client.engine.completeRun({ leaseToken });
    expect(await refusal(client.runs.cancelRun({ runId: run.runId }))).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "INVALID_STATE",
      metadata: { status: "succeeded" },
    });
  });

  test("and a completion at the same time: one of them wins", async () => {
    const { client } = newWorkspace();
    for (let round = 0; round < 10; round++) {
      const { run, leaseToken } = await createAndClaim(client);
      const [canceled, completed] = await Promise.allSettled([
        client.runs.cancelRun({ runId: run.runId }),
        client.engine.completeRun({ leaseToken }),
      ]);
      expect([canceled.status, completed.status].toSorted()).toEqual(["fulfilled", "rejected"]);
      const types = await eventTypes(client, run.runId);
      expect(types).toEqual([
        "run.created",
        "run.claimed",
        canceled.status === "fulfilled" ? "run.canceled" : "run.succeeded",
      ]);
    }
  });
});
