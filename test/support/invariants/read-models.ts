import type { Verification } from "../../../src/readmodel/verify.ts";
import type { Violation } from "../invariants.ts";

/** I7: the read models are the fold of the log, row by row, as `verify` finds them. */
export function checkReadModels({ differences }: Pick<Verification, "differences">): Violation[] {
  return differences.map(({ table, key, kind, columns }) => ({
    invariant: "I7",
    at: `${table} ${key}`,
    problem: columns.length === 0 ? kind : `${kind}: ${columns.join(", ")}`,
  }));
}
