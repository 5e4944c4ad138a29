import { randomInt } from "node:crypto";
import { expect, test } from "vitest";
import { checkInvariants, decodeLog, describeViolations } from "../support/invariants.ts";
import { checkSubstance, countWhatHappened } from "../support/invariants/substance.ts";
import { simulate } from "./simulation/simulation.ts";

// SIGNALBOX_SIM_SEED looks at one history; SIGNALBOX_SIM_SEEDS says how many there are, from a seed that differs each time.
const only = process.env["SIGNALBOX_SIM_SEED"];
const count = only === undefined ? Number(process.env["SIGNALBOX_SIM_SEEDS"] ?? 500) : 1;
const first = Number(only ?? randomInt(2 ** 31));

/** What many histories have to show between them, or they prove nothing. */
const least = {
  "CreateRun ok": 100,
  "CreateRun unknown": 10,
  "CreateRun REQUEST_ID_REUSED": 10,
  "CancelRun ok": 10,
  "CancelRun INVALID_STATE": 1,
  "PauseRun ok": 10,
  "ResumeRun ok": 10,
  "SendMessage ok": 100,
  "SendMessage INVALID_STATE": 1,
  "SuspendRun ok": 10,
  "any PAUSE_REQUESTED": 10,
  "GetRun ok": 10,
  "ClaimRun ok": 100,
  "ClaimRun unknown": 10,
  "Heartbeat LEASE_LOST": 10,
  "ReleaseRun ok": 10,
  "ReleaseRun LEASE_LOST": 1,
  "CompleteRun ok": 100,
  "CompleteRun LEASE_LOST": 10,
  "FailRun ok": 10,
  "FailRun LEASE_LOST": 1,
  "StartStep ok": 100,
  "StartStep LEASE_LOST": 10,
  "CompleteStep ok": 100,
  "CompleteStep LEASE_LOST": 1,
  "FailStep ok": 10,
  "StartToolCall ok": 100,
  "StartToolCall LEASE_LOST": 10,
  "SucceedToolCall ok": 100,
  "FailToolCall ok": 10,
  "ReconcileToolCall ok": 10,
  "run.pause_requested": 10,
  "run.paused": 10,
  "run.resumed": 10,
  "run.suspended": 10,
  "run.message_received": 100,
  "run.released": 10,
  "run.attempt_failed": 10,
  "run.lease_expired": 10,
  "run.failed": 10,
  "run.canceled": 10,
};

test(`${count} histories from seed ${first} on break no invariant`, { timeout: 30_000 + count * 200 }, async () => {
  const happened = new Map<string, number>();
  for (let seed = first; seed < first + count; seed++) {
    const evidence = await simulate(seed).catch((error: unknown) => {
      throw new Error(`SIGNALBOX_SIM_SEED=${seed} broke down`, { cause: error });
    });
    for (const [what, times] of countWhatHappened(decodeLog(evidence.log), evidence.operations)) {
      happened.set(what, (happened.get(what) ?? 0) + times);
    }
    expect(describeViolations(checkInvariants(evidence)), `SIGNALBOX_SIM_SEED=${seed}`).toBe("");
  }
  // A few histories need not show everything.
  const wanted = count < 200 ? {} : least;
  expect(describeViolations(checkSubstance(happened, { least: wanted, faults: {} }))).toBe("");
});

test("the same seed gives the same history", async () => {
  const [one, other] = [await simulate(7), await simulate(7)];
  expect(one.log.length).toBeGreaterThan(10);
  expect(other.log).toEqual(one.log);
  expect((await simulate(8)).log).not.toEqual(one.log);
});
