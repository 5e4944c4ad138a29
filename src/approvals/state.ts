import { type Approval, ApprovalStatus } from "../../gen/signalbox/v1/approval_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { AggregateDefinition } from "../eventlog/aggregates.ts";
import { evolveApproval } from "./resource.ts";

/** An approval that somebody has asked for. */
export interface KnownApproval {
  readonly approval: Approval;
  /** Those of escalate_to by name: roles are what they were at the request. */
  readonly escalateDeciders: readonly string[];
  /** How many events it has. */
  readonly changes: bigint;
}

/** What decisions about an approval rest on. */
export type ApprovalState =
  | { readonly status: "absent" }
  | (KnownApproval & {
      readonly status: "pending" | "held" | "approved" | "denied" | "expired" | "consumed" | "canceled";
    });

/** Approvals as aggregates. */
export const approvalAggregate: AggregateDefinition<ApprovalState> = {
  type: "approval",
  initial: { status: "absent" },
  evolve: evolveApprovalState,
};

/** The state after one more event. Pure. */
export function evolveApprovalState(state: ApprovalState, event: Event): ApprovalState {
  const before = state.status === "absent" ? undefined : state;
  const approval = evolveApproval(before?.approval, event);
  if (approval === undefined) return state;
  const { payload } = event;
  return {
    status: statusOf(approval),
    approval,
    escalateDeciders:
      payload.case === "approvalRequested" ? payload.value.escalateDeciders : (before?.escalateDeciders ?? []),
    changes: event.streamSequence,
  };
}

function statusOf({ approvalId, status }: Approval): Exclude<ApprovalState["status"], "absent"> {
  switch (status) {
    case ApprovalStatus.PENDING:
      return "pending";
    case ApprovalStatus.HELD:
      return "held";
    case ApprovalStatus.APPROVED:
      return "approved";
    case ApprovalStatus.DENIED:
      return "denied";
    case ApprovalStatus.EXPIRED:
      return "expired";
    case ApprovalStatus.CONSUMED:
      return "consumed";
    case ApprovalStatus.CANCELED:
      return "canceled";
    case ApprovalStatus.UNSPECIFIED:
    default:
      throw new Error(`approval ${approvalId} has status ${status}, which this program does not know`);
  }
}
