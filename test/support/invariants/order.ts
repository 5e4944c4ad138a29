import type { Operation } from "../history.ts";
import type { LogEvent, Violation } from "../invariants.ts";
import { describe, isWrittenByCaller } from "./operations.ts";

interface Done {
  readonly operation: Operation;
  readonly position: bigint;
}

/**
 * I2, real-time order: what an operation records stands behind everything that was acknowledged before it began, and an
 * answer about a run is never older than an answer about it that was there before the call.
 */
export function checkOrder(log: readonly LogEvent[], operations: readonly Operation[]): Violation[] {
  const recorded = new Map(log.filter(isWrittenByCaller).map((entry) => [entry.event.correlationId, entry]));
  const acknowledged = operations
    .flatMap((operation): Done[] =>
      operation.outcome === "ok" && operation.position !== undefined
        ? [{ operation, position: BigInt(operation.position) }]
        : [],
    )
    .toSorted((a, b) => a.operation.t_done - b.operation.t_done);
  const violations: Violation[] = [];
  const newestOfRun = new Map<string, Done>();
  let newest: Done | undefined;
  let next = 0;
  for (const operation of operations.toSorted((a, b) => a.t_invoke - b.t_invoke)) {
    for (
      let done = acknowledged[next];
      done && done.operation.t_done < operation.t_invoke;
      done = acknowledged[++next]
    ) {
      newest = later(newest, done);
      const runId = done.operation.run_id ?? "";
      newestOfRun.set(runId, later(newestOfRun.get(runId), done));
    }
    const fail = (problem: string) => violations.push({ invariant: "I2", at: describe(operation), problem });
    const entry = recorded.get(operation.id);
    if (entry !== undefined && newest !== undefined && entry.position <= newest.position) {
      fail(
        `recorded ${entry.name}, but ${describe(newest.operation)} had been answered with position ${newest.position}`,
      );
    }
    const before = newestOfRun.get(operation.run_id ?? "");
    if (operation.outcome !== "ok" || operation.position === undefined || before === undefined) continue;
    if (BigInt(operation.position) < before.position) {
      fail(
        `answered position ${operation.position}, older than the ${before.position} of ${describe(before.operation)}`,
      );
    }
  }
  return violations;
}

function later(a: Done | undefined, b: Done): Done {
  return a !== undefined && a.position > b.position ? a : b;
}
