import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RunStatus, valueToJson } from "../../src/client/client.ts";
import { createWorker, type Handler } from "../../src/engine/worker.ts";
import { openRecordedClient } from "../support/recorded-client.ts";
import { openGate } from "../support/open-gate.ts";
import { until } from "../support/until.ts";
import { type FaultRun, openFaultRun } from "./support/fault-run.ts";

let run: FaultRun;

beforeAll(async () => {
  run = await openFaultRun({ leaseTtlMs: 2_000 });
}, 60_000);

afterAll(() => run[Symbol.asyncDispose]());

/** Everything that a worker can write. */
const writes = ["StartStep", "CompleteStep", "StartToolCall", "CompleteRun", "FailRun", "ReleaseRun"];

/** A worker inside the test that takes runs of one handler. */
function startWorker(name: string, handler: Handler): AsyncDisposable {
  const { folder, servers } = run.processes;
  const client = openRecordedClient(servers[0]?.url ?? "", name, join(folder, `${name}.jsonl`));
  const worker = createWorker({ client, workerId: name, handlers: { stubborn: handler } });
  const running = worker.run();
  return {
    async [Symbol.asyncDispose]() {
      await worker[Symbol.asyncDispose]();
      await running;
      client.close();
    },
  };
}

test(
  "a worker that was suspended beyond its lease can write nothing, whatever it tries",
  { timeout: 60_000 },
  async () => {
    const { processes, client } = run;
    await openGate(client);
    const { runId = "" } = (await client.runs.createRun({ handler: "stubborn" })).run ?? {};
    const name = "stubborn";
    const stubborn = await processes.run(name, new URL("support/stubborn-worker.ts", import.meta.url), {
      SIGNALBOX_URL: processes.servers[0]?.url ?? "",
      HISTORY_FILE: join(processes.folder, `${name}.jsonl`),
      WORKER_NAME: name,
    });
    const own = async () => (await run.operations()).filter(({ id }) => id.startsWith(`${name}-`));
    const refused = async (op: string) => (await own()).some((it) => it.op === op && it.reason === "LEASE_LOST");
    await until(async () => (await own()).some(({ op, outcome }) => op === "CompleteStep" && outcome === "ok"), {
      what: "the worker to be in the middle of its work",
    });

    const { promise: allowed, resolve: allow } = Promise.withResolvers<void>();
    const holder = async () => (await client.runs.getRun({ runId })).run?.workerId;
    await using _successor = startWorker("successor", async (ctx) => {
      await ctx.step("last", () => allowed);
      return "done by the successor";
    });
    const felt = async () => (await holder()) === "successor";
    await run.strike({ name: "worker beyond its lease", how: "suspend", victims: [stubborn], felt });

    for (const op of [...writes, "Heartbeat"]) await until(() => refused(op), { what: `${op} to be refused` });
    expect(await holder()).toBe("successor");
    allow();
    const ended = await client.runs.waitRun({ runId, timeout: { seconds: 10n } });
    expect(ended.run?.status).toBe(RunStatus.SUCCEEDED);
    expect(valueToJson(ended.run?.output)).toBe("done by the successor");
    await stubborn.kill();
    const least = Object.fromEntries(writes.map((op) => [`${op} LEASE_LOST`, 1]));
    expect(await run.conclude({ ...least, "StartStep ok": 1, "Heartbeat LEASE_LOST": 1 })).toBe("");
  },
);

test(
  "the runs of a worker that was suspended end elsewhere, and it goes on with others",
  { timeout: 60_000 },
  async () => {
    const load = run.load("suspended", 4, 1);
    const [victim] = run.workers;
    if (victim === undefined) throw new Error("no worker");
    const worked = async () =>
      (await run.operations()).filter(
        ({ id, op, outcome }) => id.startsWith(victim.name) && op === "CompleteRun" && outcome === "ok",
      );
    await until(async () => (await worked()).length > 0, { what: "the worker to work" });
    const lost = run.lostLeases();
    await run.strike({ name: "worker", how: "suspend", victims: [victim], felt: () => run.lostLeases() > lost });
    const before = (await worked()).length;
    await until(async () => (await worked()).length > before + 3, { what: "the worker to go on" });
    expect(await run.conclude({ "any LEASE_LOST": 1, "CreateRun ok": 10, "CompleteRun ok": 10 }, load)).toBe("");
  },
);
