import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { afterAll, describe, expect, test } from "vitest";
import { RunEndReason, RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { claim } from "./claims.ts";
import { reasonFor } from "./refusal.ts";
import { createRun, ended } from "./runs.ts";

const installation = await openInstallation({ leaseTtlMs: 1_500 });
afterAll(() => installation[Symbol.asyncDispose]());

function newWorkspace() {
  const workspaceId = newWorkspaceId();
  return { workspaceId, client: installation.client({ workspaceId }) };
}

describe("max_duration", () => {
  const maxDuration = durationFromMs(300);
  const exceeded = {
    status: RunStatus.FAILED,
    endReason: RunEndReason.DEADLINE_EXCEEDED,
    error: { code: "DEADLINE_EXCEEDED" },
  };

  test("fails a queued run that nobody takes", async () => {
    const { client } = newWorkspace();
    const run = await ended(client, await createRun(client, { handler: "nobody", maxDuration }));
    expect(run).toMatchObject({ ...exceeded, attempt: 0 });
    expect(timestampMs(run.endTime!)).toBeGreaterThanOrEqual(timestampMs(run.deadlineTime!));
  });

  test("fails a running run and fences its worker out", async () => {
    const { client } = newWorkspace();
    const runId = await createRun(client, { handler: "by_hand", maxDuration: durationFromMs(2_000) });
    const { leaseToken } = await claim(client, "by_hand");
    expect(await ended(client, runId)).toMatchObject({ ...exceeded, attempt: 1 });
    expect(await client.engine.heartbeat({ leaseToken })).toMatchObject({ cancelRequested: true });
    expect(await reasonFor(client.engine.completeRun({ leaseToken }))).toBe("LEASE_LOST");
  });

  test("stops a handler", async () => {
    const { client, workspaceId } = newWorkspace();
    await using _worker = installation.worker({ workspaceId });
    const runId = await createRun(client, { handler: "sleep", input: jsonValue({ ms: 60_000 }), maxDuration });
    expect(await ended(client, runId)).toMatchObject(exceeded);
  });

  test("fails a run that waits for its next attempt", async () => {
    const { client } = newWorkspace();
    const retryPolicy = { initialBackoff: { seconds: 60n } };
    const runId = await createRun(client, { handler: "by_hand", maxDuration: durationFromMs(2_000), retryPolicy });
    const { leaseToken } = await claim(client, "by_hand");
    await client.engine.failRun({ leaseToken, error: { code: "FLAKY", message: "once", retryable: true } });
    expect(await ended(client, runId)).toMatchObject(exceeded);
  });

  test("of an agent holds for its runs, unless they say otherwise", async () => {
    const { client } = newWorkspace();
    const { agent } = await client.agents.createAgent({ name: "hasty", handler: "nobody", limits: { maxDuration } });
    const agentId = agent?.agentId ?? "";
    const patient = await createRun(client, { agentId, maxDuration: { seconds: 60n } });
    expect(await ended(client, await createRun(client, { agentId }))).toMatchObject(exceeded);
    expect((await client.runs.getRun({ runId: patient })).run).toMatchObject({ status: RunStatus.QUEUED });
  });
});
