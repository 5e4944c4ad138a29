import type { Operation } from "../history.ts";
import type { LogEvent, Violation } from "../invariants.ts";

/** What a run of the system must have seen to prove anything. */
export interface Substance {
  /**
   * The least number of operations by method and outcome (`CreateRun ok`), by method and reason (`CompleteRun LEASE_LOST`),
   * by reason (`any LEASE_LOST`), and of events by type (`run.lease_expired`).
   */
  readonly least: Readonly<Record<string, number>>;
  /** How often each fault struck and was felt. */
  readonly faults: Readonly<Record<string, number>>;
}

/** How often what happened, under the names that `Substance` has for it. */
export function countWhatHappened(log: readonly LogEvent[], operations: readonly Operation[]): Map<string, number> {
  const counts = new Map<string, number>();
  const count = (key: string) => counts.set(key, (counts.get(key) ?? 0) + 1);
  for (const { event } of log) count(event.type);
  for (const { op, outcome, reason } of operations) {
    count(`${op} ${outcome}`);
    if (reason === undefined) continue;
    count(`${op} ${reason}`);
    count(`any ${reason}`);
  }
  return counts;
}

/** I14: the run was not vacuous. */
export function checkSubstance(happened: ReadonlyMap<string, number>, { least, faults }: Substance): Violation[] {
  const rare = Object.entries(least).flatMap(([key, wanted]) => {
    const times = happened.get(key) ?? 0;
    return times < wanted ? [{ at: key, problem: `${times} times, at least ${wanted} wanted` }] : [];
  });
  const idle = Object.entries(faults).flatMap(([fault, times]) =>
    times === 0 ? [{ at: fault, problem: "the fault was never felt" }] : [],
  );
  return [...rare, ...idle].map((found) => ({ invariant: "I14", ...found }));
}
