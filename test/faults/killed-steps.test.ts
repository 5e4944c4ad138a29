import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { mkdtempDisposable } from "node:fs/promises";
import { randomInt } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { afterAll, expect, test } from "vitest";
import { type Event, follow, RunStatus, type SignalboxClient, valueToJson } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { checkInvariants, describeViolations } from "../support/invariants.ts";
import { createSeeded } from "../support/seeded.ts";
import { until } from "../support/until.ts";
import { readStoredLog } from "./support/stored-log.ts";

const kills = 20;
const steps = 200;
const seed = Number(process.env["SIGNALBOX_FAULT_SEED"] ?? randomInt(1_000_000));
const script = fileURLToPath(new URL("support/steps-worker.ts", import.meta.url));
const installation = await openInstallation({ leaseTtlMs: 1_500 });
afterAll(() => installation[Symbol.asyncDispose]());

/** One time that the code of a step ran. */
interface Execution {
  readonly runId: string;
  readonly key: string;
  readonly startMs: number;
}

function readExecutions(file: string, runId: string): Execution[] {
  const lines = readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "");
  return lines.map((line) => JSON.parse(line) as Execution).filter((execution) => execution.runId === runId);
}

function startWorker(workspaceId: string, file: string): ChildProcess {
  const env = {
    ...process.env,
    SIGNALBOX_URL: installation.url,
    SIGNALBOX_WORKSPACE: workspaceId,
    EXECUTIONS_FILE: file,
  };
  return spawn(process.execPath, [script], { env, stdio: "inherit" });
}

async function kill(worker: ChildProcess): Promise<void> {
  if (worker.exitCode !== null || worker.signalCode !== null) return;
  worker.kill("SIGKILL");
  await once(worker, "exit");
}

async function createRun(client: SignalboxClient): Promise<string> {
  const retryPolicy = { maxAttempts: 100, initialBackoff: { nanos: 1_000_000 } };
  return (await client.runs.createRun({ handler: "steps200", retryPolicy })).run?.runId ?? "";
}

async function endOf(client: SignalboxClient, runId: string) {
  const { run } = await client.runs.waitRun({ runId, timeout: { seconds: 60n } });
  return { status: run?.status, attempt: run?.attempt ?? 0, output: valueToJson(run?.output) };
}

/** When the output of each step was recorded, by key. */
async function recordTimes(client: SignalboxClient, runId: string): Promise<Map<string, number>> {
  const keys = new Map<string, string>();
  const times = new Map<string, number>();
  for await (const { payload, createTime } of follow(client, { filter: { runId } }) as AsyncIterable<Event>) {
    if (payload.case === "stepStarted") keys.set(payload.value.stepId, payload.value.key);
    if (payload.case !== "stepCompleted" || createTime === undefined) continue;
    const key = keys.get(payload.value.stepId) ?? "";
    expect(times.has(key), `${key} is recorded once`).toBe(false);
    times.set(key, timestampMs(createTime));
  }
  return times;
}

test(
  `a run with ${steps} steps whose worker is killed ${kills} times does no step again that is on record (SIGNALBOX_FAULT_SEED=${seed})`,
  { timeout: 180_000 },
  async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), "signalbox-steps-"));
    const file = join(folder.path, "executions.jsonl");
    writeFileSync(file, "");
    const workspaceId = newWorkspaceId();
    const client = installation.client({ workspaceId });
    const random = createSeeded(seed);
    let worker = startWorker(workspaceId, file);
    try {
      const calm = await endOf(client, await createRun(client));
      expect(calm.status).toBe(RunStatus.SUCCEEDED);

      const runId = await createRun(client);
      const points = new Set<number>();
      while (points.size < kills) points.add(1 + random.below(steps - 2));
      for (const point of [...points].toSorted((a, b) => a - b)) {
        const isThere = () => new Set(readExecutions(file, runId).map(({ key }) => key)).size >= point;
        await until(isThere, { what: `step ${point} of the run`, timeoutMs: 30_000, intervalMs: 1 });
        await kill(worker);
        worker = startWorker(workspaceId, file);
      }
      const disturbed = await endOf(client, runId);
      expect(disturbed.output).toEqual(calm.output);
      expect(disturbed.status).toBe(RunStatus.SUCCEEDED);
      // Each worker had got a step further when it was killed.
      expect(disturbed.attempt).toBeGreaterThan(kills);

      const recorded = await recordTimes(client, runId);
      expect(recorded.size).toBe(steps);
      const executions = readExecutions(file, runId);
      const again = executions.filter(({ key, startMs }) => startMs > (recorded.get(key) ?? 0));
      expect(again).toEqual([]);
      expect(new Set(executions.map(({ key }) => key)).size).toBe(steps);
    } finally {
      await kill(worker);
    }
    const { nats, stream } = installation.backend;
    expect(describeViolations(checkInvariants({ log: await readStoredLog(nats, stream), operations: [] }))).toBe("");
  },
);
