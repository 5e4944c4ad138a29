import { create } from "@bufbuild/protobuf";
import { type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  ApprovalDecidedSchema,
  ApprovalDelegatedSchema,
  ApprovalEditedSchema,
} from "../../gen/signalbox/v1/approval_event_pb.ts";
import { type Approval, ApprovalStatus, ApprovalVerdict } from "../../gen/signalbox/v1/approval_pb.ts";
import type {
  DecideApprovalRequest,
  DelegateApprovalRequest,
  EditApprovalRequest,
} from "../../gen/signalbox/v1/approval_service_pb.ts";
import { type Principal, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { principalName, principalOfName } from "../kernel/principal.ts";
import { payloadDigest } from "./digest.ts";
import { alreadyDecided, isLapsed, payloadMismatch, requireUndecided } from "./refusals.ts";
import { approversOf, type Decider, deciderOf, isInvolved, mayDecide } from "./rights.ts";
import type { ApprovalState } from "./state.ts";

/** Events after which an approval takes no more holds, edits and delegations: it would grow without end. */
const maxChanges = 200n;

/**
 * approval.decided; nothing when this person has said the same of the present payload. One denial denies, a hold stops the
 * clock, enough approvals approve. The errors of ApprovalService.DecideApproval.
 */
export function decideApproval(
  state: ApprovalState,
  caller: Principal,
  request: DecideApprovalRequest,
  now: Date,
): Draft | undefined {
  const { approvalId, verdict, comment, payloadDigest: seen } = request;
  const decider = deciderOf(caller);
  if (verdict === ApprovalVerdict.APPROVE && seen === "") {
    throw new SignalboxError(
      "INVALID_REQUEST",
      "payload_digest is missing: to approve, read the approval with GetApproval, look at its payload, and give the payload_digest that came with it",
    );
  }
  if (isRepeated(state, decider, request, now)) return undefined;
  const approval = requireUndecided(state, approvalId, now);
  requireRight(approval, decider);
  if (seen !== "" && seen !== approval.payloadDigest) throw payloadMismatch(approvalId);
  if (verdict === ApprovalVerdict.APPROVE) requireUninvolved(approval, decider);
  if (verdict === ApprovalVerdict.HOLD) requireRoom(state, approvalId);
  const { status, expireTime } = outcome(approval, decider, verdict, now);
  const { payloadDigest: digest } = approval;
  const value = create(ApprovalDecidedSchema, {
    verdict,
    comment,
    payloadDigest: digest,
    status,
    expireTime,
    decideBy: decider.person,
  });
  return { payload: { case: "approvalDecided", value }, zone: approval.zone };
}

/**
 * approval.edited; nothing when this is the present payload. Earlier decisions do not count any more. The payload must be
 * storable. The errors of ApprovalService.EditApproval.
 */
export function editApproval(
  state: ApprovalState,
  caller: Principal,
  request: EditApprovalRequest,
  now: Date,
): Draft | undefined {
  const { approvalId, payload, comment, payloadDigest: replaced } = request;
  const decider = deciderOf(caller);
  const digest = state.status === "absent" ? "" : payloadDigest({ ...state.approval, payload });
  if (isEditedSo(state, decider, digest, now)) return undefined;
  const approval = requireUndecided(state, approvalId, now);
  requireRight(approval, decider);
  if (replaced !== approval.payloadDigest) throw payloadMismatch(approvalId);
  if (digest === approval.payloadDigest) return undefined;
  requireRoom(state, approvalId);
  const value = create(ApprovalEditedSchema, { payload, payloadDigest: digest, comment, editedBy: decider.person });
  return { payload: { case: "approvalEdited", value }, zone: approval.zone };
}

/**
 * approval.delegated: somebody else decides instead of the caller; nothing when that is so. Who has a part in the question
 * may not choose who answers it. The errors of ApprovalService.DelegateApproval.
 */
export function delegateApproval(
  state: ApprovalState,
  caller: Principal,
  { approvalId, delegateTo, comment }: DelegateApprovalRequest,
  now: Date,
): Draft | undefined {
  const decider = deciderOf(caller);
  const approval = requireUndecided(state, approvalId, now);
  if (approval.delegatedBy.includes(decider.name) && approval.deciders.includes(delegateTo)) return undefined;
  requireRight(approval, decider);
  requireUninvolved(approval, decider);
  if (approversOf(approval).includes(decider.name)) {
    throw alreadyDecided(approvalId, `${decider.name} has approved it, and can not hand that on`, state.status);
  }
  requireDelegate(approval, decider, delegateTo);
  requireRoom(state, approvalId);
  const value = create(ApprovalDelegatedSchema, { delegateBy: decider.name, delegateTo, comment });
  return { payload: { case: "approvalDelegated", value }, zone: approval.zone };
}

/** True when the present payload is the one that the decider wants, and has put there. */
function isEditedSo(state: ApprovalState, { name }: Decider, digest: string, now: Date): boolean {
  if (state.status === "absent" || isLapsed(state, now)) return false;
  const { editedBy, payloadDigest: present } = state.approval;
  return present === digest && editedBy !== undefined && principalName(editedBy) === name;
}

/** True when the present state has what the decision would add. A lapsed approval answers everybody that it has lapsed. */
function isRepeated(state: ApprovalState, { name }: Decider, request: DecideApprovalRequest, now: Date): boolean {
  if (state.status === "absent" || isLapsed(state, now)) return false;
  const { status, approval } = state;
  const { verdict, payloadDigest: seen } = request;
  if (seen !== "" && seen !== approval.payloadDigest) return false;
  switch (verdict) {
    case ApprovalVerdict.APPROVE:
      return (
        (status === "pending" || status === "approved" || status === "consumed") && approversOf(approval).includes(name)
      );
    case ApprovalVerdict.DENY:
      return status === "denied" && newestVerdict(approval, name) === ApprovalVerdict.DENY;
    case ApprovalVerdict.HOLD:
      return status === "held" && newestVerdict(approval, name) === ApprovalVerdict.HOLD;
    case ApprovalVerdict.UNSPECIFIED:
    default:
      return false;
  }
}

function newestVerdict({ decisions, editPosition }: Approval, name: string): ApprovalVerdict | undefined {
  return decisions.findLast(
    ({ decideBy, position }) => position > editPosition && decideBy !== undefined && principalName(decideBy) === name,
  )?.verdict;
}

function outcome(
  approval: Approval,
  { name }: Decider,
  verdict: ApprovalVerdict,
  now: Date,
): { status: ApprovalStatus; expireTime: Timestamp | undefined } {
  switch (verdict) {
    case ApprovalVerdict.DENY:
      return { status: ApprovalStatus.DENIED, expireTime: undefined };
    case ApprovalVerdict.HOLD:
      return { status: ApprovalStatus.HELD, expireTime: undefined };
    case ApprovalVerdict.APPROVE: {
      const approvers = new Set([...approversOf(approval), name]);
      const enough = approvers.size >= approval.requiredCount;
      const held = approval.status === ApprovalStatus.HELD;
      return {
        status: enough ? ApprovalStatus.APPROVED : ApprovalStatus.PENDING,
        expireTime: held ? timestampFromMs(now.getTime() + Number(approval.ttlMs)) : approval.expireTime,
      };
    }
    case ApprovalVerdict.UNSPECIFIED:
    default:
      throw new SignalboxError("INVALID_REQUEST", "verdict is missing: approve, deny or hold");
  }
}

function requireRight(approval: Approval, decider: Decider): void {
  if (mayDecide(approval, decider)) return;
  const { approvalId, deciders } = approval;
  const who =
    deciders.length > 0
      ? deciders.slice(0, 20).join(", ")
      : "every person and program who has not delegated it, but no agent";
  throw new SignalboxError(
    "PERMISSION_DENIED",
    `${decider.name} may not decide on approval ${approvalId}; those who may: ${who}`,
    {
      approval_id: approvalId,
    },
  );
}

function requireUninvolved(approval: Approval, decider: Decider): void {
  if (!isInvolved(approval, decider)) return;
  const { approvalId } = approval;
  throw new SignalboxError(
    "SELF_APPROVAL",
    `${decider.name} has a part in approval ${approvalId}: in the zone high_stakes neither who asks, nor those on whose behalf, nor who wrote the present payload may approve it or choose who does; ask somebody else`,
    { approval_id: approvalId },
  );
}

function requireDelegate(approval: Approval, { name }: Decider, delegateTo: string): void {
  const { approvalId, deciders, requiredApprovers, requiredCount } = approval;
  const refuse = (message: string) => new SignalboxError("INVALID_REQUEST", message, { approval_id: approvalId });
  const delegate = principalOfName(delegateTo);
  if (delegate === undefined)
    throw refuse(`delegate_to ${JSON.stringify(delegateTo)} is no principal such as user:bob`);
  if (delegateTo === name) throw refuse(`delegate_to is ${name}, who decides already; name somebody else`);
  if (delegate.type === PrincipalType.AGENT && !deciders.includes(delegateTo)) {
    throw refuse(`${delegateTo} is an agent: agents decide only where the policy or the request names them`);
  }
  const left = new Set([...deciders.filter((each) => each !== name), delegateTo]).size;
  if (requiredApprovers.length === 0 || left >= deciders.length || left >= requiredCount) return;
  throw refuse(`${requiredCount} have to approve, and only ${left} would be left who may; name somebody else`);
}

function requireRoom(state: ApprovalState, approvalId: string): void {
  if (state.status === "absent" || state.changes < maxChanges) return;
  throw new SignalboxError(
    "QUOTA_EXCEEDED",
    `approval ${approvalId} was changed ${maxChanges} times; approve or deny it, or let the run ask anew`,
    { approval_id: approvalId, limit: String(maxChanges) },
  );
}
