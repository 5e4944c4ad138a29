import { randomInt } from "node:crypto";
import { expect, test } from "vitest";
import type { Operation } from "../support/history.ts";
import { checkInvariants, describeViolations } from "../support/invariants.ts";
import { simulate } from "./simulation/simulation.ts";

/** One seed to look at, or as many as fit in a test command from a beginning that differs each time. */
const only = process.env["SIGNALBOX_SIM_SEED"];
const count = only === undefined ? Number(process.env["SIGNALBOX_SIM_SEEDS"] ?? 500) : 1;
const first = Number(only ?? randomInt(2 ** 31));

const seen = new Map<string, number>();

function remember({ op, outcome, reason }: Operation): void {
  for (const key of [`${op} ${outcome}`, ...(outcome === "fail" ? [`${op} ${reason}`] : [])]) {
    seen.set(key, (seen.get(key) ?? 0) + 1);
  }
}

test(`every invariant holds in ${count} random histories from seed ${first} on`, { timeout: 30_000 + count * 200 }, async () => {
  for (let seed = first; seed < first + count; seed++) {
    const evidence = await simulate(seed);
    for (const operation of evidence.operations) remember(operation);
    expect(describeViolations(checkInvariants(evidence)), `SIGNALBOX_SIM_SEED=${seed}`).toBe("");
  }
});
