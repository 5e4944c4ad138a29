import { type Approvals, createApprovals } from "../approvals/approvals.ts";
import { createApprovalLists } from "../approvals/queries.ts";
import type { TellRun } from "../approvals/reactions.ts";
import type { Aggregates } from "../eventlog/aggregates.ts";
import { systemClock as clock } from "../kernel/clock.ts";
import { randomIds as ids } from "../kernel/ids.ts";
import type { Limits } from "../kernel/limits.ts";
import type { PolicyBook } from "../policy/policy-book.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { RunState } from "../runs/state.ts";
import { createSystemCommand } from "../runs/system-command.ts";
import { endApproval } from "../runs/wait-decider.ts";
import type { Stores } from "./stores.ts";

/** What approvals are wired from. */
export interface ApprovalParts extends Stores {
  readonly positions: Positions;
  readonly book: PolicyBook;
  readonly limits: Limits;
}

/** The approvals of a process, for callers, for runs and for the reactor alike. */
export function wireApprovals({ log, postgres: { db }, positions, book, limits }: ApprovalParts): Approvals {
  const lists = createApprovalLists(db);
  return createApprovals({ log, clock, ids, lists, positions, limits, rolesOf: book.rolesOf });
}

/** How runs hear of the decisions that they wait for. */
export function tellRuns(aggregates: Aggregates<RunState>): TellRun {
  const command = createSystemCommand(aggregates, ids);
  return (workspaceId, runId, approvalId, status, cause) =>
    command(workspaceId, runId, (state) => endApproval(state, approvalId, status), cause);
}
