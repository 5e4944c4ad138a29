import { randomInt } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { answers200 } from "../support/processes.ts";
import { createSeeded } from "../support/seeded.ts";
import { until } from "../support/until.ts";
import { type Fault, type FaultRun, openFaultRun } from "./support/fault-run.ts";
import type { Load } from "./support/load.ts";

const clients = 6;
const soakMs = Number(process.env["SIGNALBOX_SOAK_SECONDS"] ?? 0) * 1_000;
const seed = Number(process.env["SIGNALBOX_FAULT_SEED"] ?? randomInt(1_000_000));

let run: FaultRun;

beforeAll(async () => {
  run = await openFaultRun({ leaseTtlMs: 2_000 });
}, 60_000);

afterAll(() => run[Symbol.asyncDispose]());

/** At least this much has been done before and after the faults. */
const least = {
  "CreateRun ok": 30,
  "WaitRun ok": 30,
  "ClaimRun ok": 30,
  "CompleteRun ok": 20,
  "StartStep ok": 10,
  "CompleteStep ok": 10,
  "FailRun ok": 5,
};

/** Waits until a few more runs have come to their end. */
async function progress(load: Load, runs: number): Promise<void> {
  const { ended } = load;
  await until(() => load.ended >= ended + runs, { what: `${runs} more runs to end`, timeoutMs: 20_000 });
}

function serverDies(load: Load): Fault {
  const { unanswered } = load;
  return { name: "kill server", victims: run.processes.servers, felt: () => load.unanswered > unanswered };
}

function natsDies(load: Load): Fault {
  const { unanswered } = load;
  return { name: "kill nats", victims: [run.processes.nats], felt: () => load.unanswered > unanswered };
}

function postgresDies(): Fault {
  const { servers, postgres } = run.processes;
  return { name: "kill postgres", victims: [postgres], felt: async () => !(await answers200(`${servers[0]?.url}/readyz`)) };
}

function workersDie(): Fault {
  const lost = run.lostLeases();
  return { name: "kill worker", victims: run.workers.slice(0, 1), felt: () => run.lostLeases() > lost };
}

test.each([
  { what: "the server", fault: serverDies },
  { what: "NATS", fault: natsDies },
  { what: "Postgres", fault: postgresDies },
  { what: "a worker", fault: workersDie },
])("no acknowledged run is lost when $what is killed", { timeout: 60_000 }, async ({ what, fault }) => {
  const load = run.load(what.replaceAll(" ", "-"), clients, seed);
  await progress(load, 25);
  await run.strike(fault(load));
  await progress(load, 25);
  expect(await run.conclude(load, least), `seed ${seed}`).toBe("");
});

test(
  `nor when all are killed in random order, two at a time (SIGNALBOX_FAULT_SEED=${seed})`,
  { timeout: soakMs + 90_000 },
  async () => {
    const random = createSeeded(seed);
    const untilMs = performance.now() + soakMs;
    const load = run.load("random", clients, seed);
    for (let rounds = 0; rounds < 3 || performance.now() < untilMs; rounds++) {
      await progress(load, 10);
      const kinds = [serverDies, natsDies, postgresDies, workersDie];
      const [first, second] = [random.pick(kinds)(load), random.pick(kinds)(load)];
      const victims = [...new Set([...first.victims, ...second.victims])];
      await run.strike({ ...first, name: `${first.name} and more`, victims });
    }
    await progress(load, 25);
    expect(await run.conclude(load, least), `seed ${seed}`).toBe("");
  },
);
