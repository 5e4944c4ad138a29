import { randomInt } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type JsonValue, jsonValue, RunStatus, valueToJson } from "../../src/client/client.ts";
import { answers200 } from "../support/processes.ts";
import { createSeeded } from "../support/seeded.ts";
import { until } from "../support/until.ts";
import { type Fault, type FaultRun, openFaultRun } from "./support/fault-run.ts";
import { type Load, progress } from "./support/load.ts";

const clients = 6;
const soakMs = Number(process.env["SIGNALBOX_SOAK_SECONDS"] ?? 0) * 1_000;
const seed = Number(process.env["SIGNALBOX_FAULT_SEED"] ?? randomInt(1_000_000));

let run: FaultRun;

beforeAll(async () => {
  run = await openFaultRun({ leaseTtlMs: 3_000 });
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
  "SuspendRun ok": 10,
  "run.woken": 1,
  "run.child_ended": 10,
  "run.message_received": 3,
  "run.paused": 3,
  "run.resumed": 3,
};

function serverDies(load: Load): Fault {
  const { unanswered } = load;
  return { name: "server", how: "kill", victims: run.processes.servers, felt: () => load.unanswered > unanswered };
}

function natsDies(load: Load): Fault {
  const { unanswered } = load;
  return { name: "nats", how: "kill", victims: [run.processes.nats], felt: () => load.unanswered > unanswered };
}

function postgresDies(): Fault {
  const { servers, postgres } = run.processes;
  const felt = async () => !(await answers200(`${servers[0]?.url}/readyz`));
  return { name: "postgres", how: "kill", victims: [postgres], felt };
}

/** A worker dies with leases in its hands. */
async function workerDies(): Promise<Fault> {
  const [victim, ...others] = run.workers;
  if (victim === undefined || others.length === 0) throw new Error("who would take over?");
  for (let i = 0; i < 8; i++) {
    await run.client.runs.createRun({ handler: "work", input: jsonValue({ ms: 2_000 }) });
  }
  const holdsLease = async () => {
    const { runs } = await run.client.runs.listRuns({ statuses: [RunStatus.RUNNING], handler: "work", pageSize: 200 });
    return runs.some(({ workerId, input }) => workerId.startsWith(`${victim.name}-`) && isLong(valueToJson(input)));
  };
  await until(holdsLease, { what: `${victim.name} to hold a lease` });
  const lost = run.lostLeases();
  return { name: "worker", how: "kill", victims: [victim], felt: () => run.lostLeases() > lost };
}

function isLong(input: JsonValue | undefined): boolean {
  return typeof input === "object" && input !== null && "ms" in input && input.ms === 2_000;
}

test.each([
  { what: "the server", fault: serverDies },
  { what: "NATS", fault: natsDies },
  { what: "Postgres", fault: postgresDies },
  { what: "a worker", fault: workerDies },
])("no acknowledged run is lost when $what is killed", { timeout: 60_000 }, async ({ what, fault }) => {
  const load = run.load(what.replaceAll(" ", "-"), clients, seed);
  await progress(load, 25);
  await run.strike(await fault(load));
  await progress(load, 25);
  expect(await run.conclude(least, load), `seed ${seed}`).toBe("");
});

test(
  `nor when all are killed or suspended in random order, two at a time (SIGNALBOX_FAULT_SEED=${seed})`,
  { timeout: soakMs + 90_000 },
  async () => {
    const random = createSeeded(seed);
    const untilMs = performance.now() + soakMs;
    const load = run.load("random", clients, seed);
    for (let rounds = 0; rounds < 3 || performance.now() < untilMs; rounds++) {
      await progress(load, 10);
      const { servers, nats, postgres } = run.processes;
      const fault = random.pick([serverDies, natsDies, postgresDies])(load);
      const victims = new Set([...fault.victims, random.pick([...servers, nats, postgres, ...run.workers])]);
      // The sessions of a suspended Postgres go on.
      const how = victims.has(postgres) ? "kill" : random.pick(["kill", "suspend"] as const);
      await run.strike({ ...fault, victims: [...victims], how });
    }
    await progress(load, 25);
    expect(await run.conclude(least, load), `seed ${seed}`).toBe("");
  },
);
