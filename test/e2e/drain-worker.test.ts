import { afterAll, expect, test } from "vitest";
import { RunStatus, jsonValue } from "../../src/client/client.ts";
import { startSignalbox } from "../cli/signalbox.ts";
import { readStoredLog } from "../faults/support/stored-log.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { checkInvariants, describeViolations } from "../support/invariants.ts";
import { until } from "../support/until.ts";
import { createRun, ended, eventTypes } from "./runs.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

test.each(["unary", "stream"] as const)(
  "a worker that is told to stop ends what it can, gives the rest back, and loses nothing (%s)",
  { timeout: 60_000 },
  async (transport) => {
    const workspaceId = newWorkspaceId();
    const client = installation.client({ workspaceId });
    const options = ["--workspace", workspaceId, "--concurrency", "4", "--transport", transport];
    const env = { SIGNALBOX_URL: installation.url, SIGNALBOX_DRAIN_TIMEOUT_MS: "2500" };
    await using worker = startSignalbox(["worker", ...options], env);
    const works = (ms: number) => createRun(client, { handler: "work", input: jsonValue({ ms }) });
    const status = async (runId: string) => (await client.runs.getRun({ runId })).run?.status;
    const short = await Promise.all([works(1_500), works(1_500)]);
    const long = await Promise.all([works(30_000), works(30_000)]);
    for (const runId of [...short, ...long]) {
      await until(async () => (await eventTypes(client, runId)).includes("step.started"), {
        what: "every run to be at work",
        timeoutMs: 20_000,
      });
    }
    const late = await works(0);
    expect(await worker.stop("SIGTERM")).toMatchObject({ code: 0 });
    for (const runId of short) expect(await status(runId)).toBe(RunStatus.SUCCEEDED);
    for (const runId of [...long, late]) expect(await status(runId)).toBe(RunStatus.QUEUED);
    expect(await eventTypes(client, long[0])).toEqual(["run.created", "run.claimed", "step.started", "run.released"]);

    installation.worker({ workspaceId, handlers: { work: (ctx) => ctx.step("work", () => "done by another") } });
    for (const runId of [...long, late]) {
      expect(await ended(client, runId)).toMatchObject({ status: RunStatus.SUCCEEDED, failedAttempts: 0 });
    }
    const { nats, stream } = installation.backend;
    expect(describeViolations(checkInvariants({ log: await readStoredLog(nats, stream), operations: [] }))).toBe("");
  },
);
