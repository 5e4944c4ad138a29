import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { jsonValue, RunStatus, type SignalboxClient } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { checkInvariants, describeViolations } from "../support/invariants.ts";
import { until } from "../support/until.ts";
import { readStoredLog } from "../faults/support/stored-log.ts";
import { createRun, ended, eventTypes } from "./runs.ts";

const leaseTtlMs = 2_500;
const installation = await openInstallation({ leaseTtlMs });
afterAll(() => installation[Symbol.asyncDispose]());
const script = fileURLToPath(new URL("blocking-worker.ts", import.meta.url));

/** A worker in a process of its own: one in this process would block the server, too. */
function startBlockingWorker(workspaceId: string, env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [script], {
    env: { ...process.env, SIGNALBOX_URL: installation.url, SIGNALBOX_WORKSPACE: workspaceId, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const closed = once(child, "close");
  return {
    stdout: () => stdout,
    stderr: () => stderr,
    async stop() {
      child.kill("SIGTERM");
      await closed;
      return child.exitCode;
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
      await closed;
    },
  };
}

/** What of I1 to I5 the whole log of the installation breaks, for people. */
async function brokenInvariants(): Promise<string> {
  const { nats, stream } = installation.backend;
  return describeViolations(checkInvariants({ log: await readStoredLog(nats, stream), operations: [] }));
}

/** Has the worker do something, so that its heartbeat thread runs: on a busy machine that takes a while to start. */
async function warmUp(client: SignalboxClient): Promise<void> {
  const runId = await createRun(client, { handler: "quick" });
  expect(await ended(client, runId)).toMatchObject({ status: RunStatus.SUCCEEDED });
}

const succeeded = ["run.created", "run.claimed", "step.started", "step.completed"];

test("a handler that blocks the event loop for three lease times keeps its run, and people are told", async () => {
  const workspaceId = newWorkspaceId();
  const client = installation.client({ workspaceId });
  await using worker = startBlockingWorker(workspaceId);
  await warmUp(client);
  const runId = await createRun(client, { handler: "block", input: jsonValue(3 * leaseTtlMs) });
  await until(() => worker.stderr().includes(runId), { what: "a line about the run on stderr", timeoutMs: 20_000 });
  expect(worker.stdout()).toBe("");
  const line = JSON.parse(
    worker
      .stderr()
      .split("\n")
      .find((text) => text.includes(runId)) ?? "",
  ) as object;
  expect(line).toMatchObject({ level: 40, worker_id: "blocking", run_ids: [runId] });
  expect(await ended(client, runId)).toMatchObject({ status: RunStatus.SUCCEEDED, attempt: 1 });
  expect(await eventTypes(client, runId)).toEqual([...succeeded, "step.started", "step.completed", "run.succeeded"]);
  expect(await worker.stop()).toBe(0);
  expect(await brokenInvariants()).toBe("");
});

test("one that blocks for longer than it may loses its run to another worker and writes nothing afterwards", async () => {
  const workspaceId = newWorkspaceId();
  const client = installation.client({ workspaceId });
  await using worker = startBlockingWorker(workspaceId, { MAX_BLOCKED_MS: "1000" });
  await warmUp(client);
  const runId = await createRun(client, { handler: "block", input: jsonValue(12_000) });
  await until(async () => (await eventTypes(client, runId)).includes("step.completed"), { what: "the first step" });
  const gate = Promise.withResolvers<void>();
  installation.worker({
    workspaceId,
    handlers: {
      block: async (ctx) => {
        await ctx.step("before", () => 1);
        await gate.promise;
        return "done by another";
      },
    },
  });
  const holder = async () => (await client.runs.getRun({ runId })).run?.workerId ?? "";
  await until(async () => !["", "blocking"].includes(await holder()), { what: "another worker to have the run" });
  expect(worker.stdout()).toBe("");
  expect(worker.stderr()).toContain(runId);
  await until(() => worker.stdout().includes("written"), { what: "the handler to come back", timeoutMs: 20_000 });
  expect(worker.stdout()).toContain('"why":"lease_lost"');
  // Its step "after" is not there; the other worker may have claimed more than once on a busy machine.
  expect((await eventTypes(client, runId)).filter((type) => type !== "run.claimed")).toEqual([
    "run.created",
    "step.started",
    "step.completed",
  ]);
  // It goes on with other runs.
  const next = await createRun(client, { handler: "quick" });
  expect(await ended(client, next)).toMatchObject({ status: RunStatus.SUCCEEDED });
  gate.resolve();
  expect(await ended(client, runId)).toMatchObject({
    status: RunStatus.SUCCEEDED,
    output: jsonValue("done by another"),
  });
  expect(await worker.stop()).toBe(0);
  expect(await brokenInvariants()).toBe("");
});
