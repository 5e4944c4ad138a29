import type { Operation, Outcome } from "../history.ts";
import type { Violation } from "../invariants.ts";

/** What a run of the system must have seen to prove anything. */
export interface Substance {
  /**
   * The least number of operations, by method and outcome: `CreateRun ok`, or with a reason: `CompleteRun LEASE_LOST`, of
   * any method: `any LEASE_LOST`.
   */
  readonly operations: Readonly<Record<string, number>>;
  /** How often each fault struck and was felt. */
  readonly faults: Readonly<Record<string, number>>;
}

/** I14: the run was not vacuous. */
export function checkSubstance(operations: readonly Operation[], { operations: least, faults }: Substance): Violation[] {
  const counts = new Map<string, number>();
  const count = (key: string) => counts.set(key, (counts.get(key) ?? 0) + 1);
  for (const { op, outcome, reason } of operations) {
    count(`${op} ${outcome satisfies Outcome}`);
    if (reason === undefined) continue;
    count(`${op} ${reason}`);
    count(`any ${reason}`);
  }
  const rare = Object.entries(least).filter(([key, wanted]) => (counts.get(key) ?? 0) < wanted);
  const idle = Object.entries(faults).filter(([, times]) => times === 0);
  return [
    ...rare.map(([key, wanted]) => ({ invariant: "I14", at: key, problem: `${counts.get(key) ?? 0} times, at least ${wanted} wanted` })),
    ...idle.map(([fault]) => ({ invariant: "I14", at: fault, problem: "the fault was never felt" })),
  ];
}
