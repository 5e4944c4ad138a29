import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { RunEndReason, RunStatus } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { createRun, ended, eventTypes } from "./runs.ts";

const installation = await openInstallation({ leaseTtlMs: 1_500 });
afterAll(() => installation[Symbol.asyncDispose]());
const script = fileURLToPath(new URL("greedy-worker.ts", import.meta.url));

test("a handler that allocates without end takes its worker along, and its run ends with a clear reason", async () => {
  const workspaceId = newWorkspaceId();
  const client = installation.client({ workspaceId });
  const runId = await createRun(client, { handler: "hoard", retryPolicy: { maxAttempts: 2 } });
  const env = { ...process.env, SIGNALBOX_URL: installation.url, SIGNALBOX_WORKSPACE: workspaceId };
  for (let attempt = 1; attempt <= 2; attempt++) {
    const child = spawn(process.execPath, ["--max-old-space-size=64", script], { env, stdio: "ignore" });
    await once(child, "close");
    expect(child.exitCode).not.toBe(0);
  }
  expect(await ended(client, runId)).toMatchObject({
    status: RunStatus.FAILED,
    endReason: RunEndReason.ATTEMPTS_EXHAUSTED,
    error: { code: "LEASE_LOST" },
  });
  const types = await eventTypes(client, runId);
  expect(types.filter((type) => type === "step.completed")).toHaveLength(1);
});
