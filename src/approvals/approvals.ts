import type { Approval } from "../../gen/signalbox/v1/approval_pb.ts";
import type {
  DecideApprovalRequest,
  DelegateApprovalRequest,
  EditApprovalRequest,
  ListApprovalsRequest,
} from "../../gen/signalbox/v1/approval_service_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { Role } from "../../gen/signalbox/v1/policy_pb.ts";
import { type AggregatesDeps, type Command, createAggregates, type Loaded } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import { type Limits, requireStorable } from "../kernel/limits.ts";
import { personBehind, principalName, signalbox } from "../kernel/principal.ts";
import { readPage } from "../readmodel/page.ts";
import type { Positions } from "../readmodel/positions.ts";
import { consumeApproval, type Use } from "./consume-decider.ts";
import { decideApproval, delegateApproval, editApproval } from "./decider.ts";
import { cancelApproval, passTime } from "./lapse-decider.ts";
import type { ApprovalLists } from "./queries.ts";
import { approvalNotFound } from "./refusals.ts";
import { type NewApproval, requestApproval } from "./request-decider.ts";
import { approvalAggregate, type ApprovalState } from "./state.ts";

/** An approval after a command, and where the log stood then. */
export interface ApprovalAt {
  readonly approval: Approval;
  readonly position: bigint;
}

/** The approvals of all workspaces; every call sees its own workspace only. */
export interface Approvals {
  /** Asks people; the same id again answers the first one as it is now. INVALID_REQUEST, PAYLOAD_TOO_LARGE. */
  request(call: Call, approval: NewApproval): Promise<ApprovalAt>;
  /** The approval as it is now, payload included; undefined when there is none. */
  find(workspaceId: string, approvalId: string): Promise<Approval | undefined>;
  /** Uses it, once; again for the same run and call is fine. The errors of ApprovalService.ConsumeApproval. */
  consume(call: Call, use: Use): Promise<ApprovalAt>;
  /** Nobody needs it any more; nothing happens when it has ended. */
  cancel(call: Call, approvalId: string, reason: string): Promise<void>;
  /** The approval as it is now. APPROVAL_NOT_FOUND. */
  get(call: Call, approvalId: string): Promise<Approval>;
  /** A page of approvals, newest first. INVALID_REQUEST, READ_MODEL_BEHIND. */
  list(call: Call, request: ListApprovalsRequest): Promise<{ approvals: Approval[]; nextPageToken: string }>;
  /** Approves, denies or holds, as the person behind the call. */
  decide(call: Call, request: DecideApprovalRequest): Promise<ApprovalAt>;
  /** Replaces the payload. */
  edit(call: Call, request: EditApprovalRequest): Promise<ApprovalAt>;
  /** Lets somebody else decide. */
  delegate(call: Call, request: DelegateApprovalRequest): Promise<ApprovalAt>;
  /** Lets it lapse or escalate when it is time for that; nothing else. In the name of Signalbox. */
  passTime(workspaceId: string, approvalId: string): Promise<void>;
  /** As `cancel`, in the name of Signalbox; `cause` is the event that it follows from, if it does. */
  drop(workspaceId: string, approvalId: string, reason: string, cause?: Event): Promise<void>;
}

/** What approvals need. */
export interface ApprovalsDeps extends AggregatesDeps {
  readonly lists: ApprovalLists;
  readonly positions: Pick<Positions, "reach">;
  readonly limits: Limits;
  /** The roles in a version of a workspace's policy; none for version 0. */
  readonly rolesOf: (workspaceId: string, policyVersion: bigint) => Promise<readonly Role[]>;
}

/** The approvals on a log and its read models. */
export function createApprovals({ lists, positions, limits, rolesOf, ...deps }: ApprovalsDeps): Approvals {
  const aggregates = createAggregates(approvalAggregate, deps);

  async function change(call: Call, id: string, decide: Command<ApprovalState>["decide"]): Promise<ApprovalAt> {
    return answer(await aggregates.execute({ call, id, decide }), id);
  }

  async function request(call: Call, approval: NewApproval): Promise<ApprovalAt> {
    const { approvalId: id, roomId, threadId, payload, decision } = approval;
    const { workspaceId } = call;
    requireStorable("payload", payload, limits.maxInputBytes);
    const { deciders = [], escalateTo = [] } = decision.terms ?? {};
    const names = [...deciders, ...escalateTo];
    const byRole = names.some((name) => name.startsWith("role:"));
    const roles = byRole ? await rolesOf(workspaceId, decision.policyVersion) : [];
    const decide = (state: ApprovalState, now: Date) => requestApproval(state, workspaceId, approval, roles, now);
    return answer(await aggregates.execute({ call, id, creation: { roomId, threadId, repeatable: true }, decide }), id);
  }

  async function find(workspaceId: string, approvalId: string): Promise<Approval | undefined> {
    const { state } = await aggregates.load(workspaceId, approvalId);
    return state.status === "absent" ? undefined : state.approval;
  }

  async function bySignalbox(
    workspaceId: string,
    id: string,
    decide: Command<ApprovalState>["decide"],
    cause?: Event,
  ): Promise<void> {
    const correlationId = cause?.correlationId ?? deps.ids.next("corr");
    const call = { workspaceId, principal: signalbox, correlationId, traceparent: cause?.traceparent ?? "" };
    await aggregates.execute({ call, id, decide, ...(cause === undefined ? {} : { causationId: cause.eventId }) });
  }

  return {
    request,
    find,
    consume: (call, use) => change(call, use.approvalId, (state, now) => consumeApproval(state, use, now)),
    async cancel(call, id, reason) {
      await aggregates.execute({ call, id, decide: (state) => cancelApproval(state, reason) });
    },
    async get({ workspaceId }, approvalId) {
      const approval = await find(workspaceId, approvalId);
      if (approval === undefined) throw approvalNotFound(approvalId);
      return approval;
    },
    async list({ workspaceId, principal, signal }, { pageSize, pageToken, minPosition, ...wanted }) {
      const assignee = wanted.assignee === "me" ? principalName(personBehind(principal)) : wanted.assignee;
      const filters = { ...wanted, assignee };
      const page = readPage("approvals", [workspaceId, filters], pageSize, pageToken);
      await positions.reach(minPosition, signal);
      const { items, nextPageToken } = await lists.approvals(workspaceId, filters, page);
      return { approvals: items, nextPageToken };
    },
    decide: (call, wanted) =>
      change(call, wanted.approvalId, (state, now) => decideApproval(state, call.principal, wanted, now)),
    async edit(call, wanted) {
      requireStorable("payload", wanted.payload, limits.maxInputBytes);
      return change(call, wanted.approvalId, (state, now) => editApproval(state, call.principal, wanted, now));
    },
    delegate: (call, wanted) =>
      change(call, wanted.approvalId, (state, now) => delegateApproval(state, call.principal, wanted, now)),
    passTime: (workspaceId, approvalId) => bySignalbox(workspaceId, approvalId, passTime),
    drop: (workspaceId, approvalId, reason, cause) =>
      bySignalbox(workspaceId, approvalId, (state) => cancelApproval(state, reason), cause),
  };
}

function answer({ state, position }: Loaded<ApprovalState>, approvalId: string): ApprovalAt {
  if (state.status === "absent") throw approvalNotFound(approvalId);
  return { approval: state.approval, position };
}
