import { afterAll, beforeAll, expect, test } from "vitest";
import { type FaultRun, openFaultRun } from "./support/fault-run.ts";
import { progress } from "./support/load.ts";

let run: FaultRun;

beforeAll(async () => {
  run = await openFaultRun({ leaseTtlMs: 3_000, servers: 2 });
}, 60_000);

afterAll(() => run[Symbol.asyncDispose]());

test.each([
  { how: "kill", what: "killed" },
  { how: "suspend", what: "suspended" },
] as const)(
  "two servers on one log lose, repeat and fork nothing while one is $what",
  { timeout: 60_000 },
  async ({ how, what }) => {
    const [victim] = run.processes.servers;
    if (victim === undefined) throw new Error("no server");
    const load = run.load(what, 6, 1);
    await progress(load, 20);
    const { unanswered, ended } = load;
    // Felt, and the other one carries on.
    const felt = () => load.unanswered > unanswered && load.ended > ended + 10;
    await run.strike({ name: "one of two servers", how, victims: [victim], felt });
    await progress(load, 20);
    expect(
      await run.conclude({ "CreateRun ok": 30, "WaitRun ok": 30, "ClaimRun ok": 30, "CompleteRun ok": 20 }, load),
    ).toBe("");
  },
);
