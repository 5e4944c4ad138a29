import { timestampDate } from "@bufbuild/protobuf/wkt";
import { type Approval, ApprovalStatus } from "../../gen/signalbox/v1/approval_pb.ts";
import type { Approvals } from "../approvals/approvals.ts";
import { dueTimeOf } from "../approvals/resource.ts";
import type { Aggregates } from "../eventlog/aggregates.ts";
import { terminalRunTypes } from "../eventlog/event-type.ts";
import type { EventRecord } from "../eventlog/record.ts";
import type { IdSource } from "../kernel/ids.ts";
import type { RunState } from "../runs/state.ts";
import { createSystemCommand } from "../runs/system-command.ts";
import { endApproval } from "../runs/wait-decider.ts";
import type { MemoryLists } from "./memory-lists.ts";
import type { TestClock } from "./test-clock.ts";

/** What becomes of approvals by themselves in a test: runs hear of decisions, and what nobody needs any more is canceled. */
export interface MemoryApprovals {
  /** Reacts to a record that the lists have taken. */
  react(record: EventRecord): Promise<void>;
  /** Lets lapse and escalate what is due now that the clock was moved. */
  onTime(): Promise<void>;
  /** When something is due next; undefined when nothing is. */
  nextTime(): Date | undefined;
}

/** What the reactions need. */
export interface MemoryApprovalsDeps {
  readonly aggregates: Aggregates<RunState>;
  readonly approvals: Pick<Approvals, "find" | "passTime" | "drop">;
  readonly lists: MemoryLists;
  readonly clock: TestClock;
  readonly ids: IdSource;
}

const told: ReadonlySet<ApprovalStatus> = new Set([
  ApprovalStatus.APPROVED,
  ApprovalStatus.DENIED,
  ApprovalStatus.EXPIRED,
  ApprovalStatus.CANCELED,
]);

/** The reactions of the production reactor, one after the other and without a leader, a table or a timer. */
export function createMemoryApprovals(deps: MemoryApprovalsDeps): MemoryApprovals {
  const { aggregates, approvals, lists, clock, ids } = deps;
  const command = createSystemCommand(aggregates, ids);

  async function drop(reason: string, matches: (approval: Approval) => boolean): Promise<void> {
    for (const { workspaceId, approvalId } of lists.openApprovals().filter(matches)) {
      await approvals.drop(workspaceId, approvalId, reason);
    }
  }

  return {
    async react({ event }) {
      const { workspaceId, stream, payload } = event;
      if (stream?.type === "approval") {
        const approval = await approvals.find(workspaceId, stream.id);
        if (approval === undefined || !told.has(approval.status)) return;
        await command(workspaceId, approval.runId, (state) => endApproval(state, stream.id, approval.status));
      }
      if (payload.case === "policyPut") {
        const present = payload.value.policy?.policyHash;
        const isOld = (approval: Approval) => approval.workspaceId === workspaceId && approval.policyHash !== present;
        await drop("the policy has changed", isOld);
      }
      if (terminalRunTypes.has(event.type)) await drop("its run has ended", ({ runId }) => runId === stream?.id);
    },
    async onTime() {
      const nowMs = clock.now().getTime();
      for (const { workspaceId, approvalId, dueMs } of lists.openApprovals().flatMap(dueOf)) {
        if (dueMs <= nowMs) await approvals.passTime(workspaceId, approvalId);
      }
    },
    nextTime() {
      const times = lists.openApprovals().flatMap(dueOf);
      return times.length === 0 ? undefined : new Date(Math.min(...times.map(({ dueMs }) => dueMs)));
    },
  };
}

function dueOf(approval: Approval) {
  const { workspaceId, approvalId } = approval;
  const due = dueTimeOf(approval);
  return due === undefined ? [] : [{ workspaceId, approvalId, dueMs: timestampDate(due).getTime() }];
}
