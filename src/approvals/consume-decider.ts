import { create } from "@bufbuild/protobuf";
import { ApprovalConsumedSchema } from "../../gen/signalbox/v1/approval_event_pb.ts";
import type { Approval } from "../../gen/signalbox/v1/approval_pb.ts";
import type { Action } from "../../gen/signalbox/v1/policy_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { principalName } from "../kernel/principal.ts";
import { payloadDigest } from "./digest.ts";
import { approvalNotFound, canceled, expired, isLapsed } from "./refusals.ts";
import { approversOf, isInvolved, mayDecide } from "./rights.ts";
import type { ApprovalState, KnownApproval } from "./state.ts";

/** What an approval is used for. */
export interface Use {
  readonly approvalId: string;
  readonly runId: string;
  /** Empty when a step uses it. */
  readonly toolCallId: string;
  /** Empty when a tool call uses it. */
  readonly stepId: string;
  readonly leaseId: string;
  /** What is to be done, as the present policy has judged it. */
  readonly action: Action | undefined;
  /** The hash of the policy that holds now. */
  readonly policyHash: string;
}

/**
 * approval.consumed, once all seven checks hold; nothing when this call has used it for the same under the same policy: the
 * start that it is good for may not have been recorded then. APPROVAL_NOT_FOUND when it was not asked for by this run and call, APPROVAL_REQUIRED while it is
 * not approved, APPROVAL_DENIED, APPROVAL_EXPIRED, PAYLOAD_MISMATCH, PERMISSION_DENIED, SELF_APPROVAL, INVALID_STATE when it
 * was canceled or is void.
 */
export function consumeApproval(state: ApprovalState, use: Use, now: Date): Draft | undefined {
  const known = requireOwn(state, use);
  const { approval } = known;
  const isUsed = known.status === "consumed";
  if (!isUsed) {
    requireNotOver(known, now);
    requireApproved(known);
  }
  requireSamePolicy(approval, use);
  requireSameBytes(approval, use);
  if (isUsed) return undefined;
  requireEnoughDeciders(approval);
  requireUninvolvedDeciders(approval);
  const { runId, toolCallId, stepId, leaseId, policyHash } = use;
  const { payloadDigest: digest, zone } = approval;
  const ofUse = { runId, toolCallId, stepId, leaseId, policyHash, payloadDigest: digest };
  return { payload: { case: "approvalConsumed", value: create(ApprovalConsumedSchema, ofUse) }, zone };
}

type Known = KnownApproval & { readonly status: Exclude<ApprovalState["status"], "absent"> };

/** Check 1: it was asked for by this run, for this call or step. */
function requireOwn(state: ApprovalState, { approvalId, runId, toolCallId, stepId }: Use): Known {
  if (state.status === "absent") throw approvalNotFound(approvalId);
  const { approval } = state;
  if (approval.runId === runId && approval.toolCallId === toolCallId && approval.stepId === stepId) return state;
  throw approvalNotFound(approvalId);
}

/** Check 2: it is not denied, expired (on record or by the clock) or canceled. */
function requireNotOver(known: Known, now: Date): void {
  const { status, approval } = known;
  const { approvalId } = approval;
  if (status === "expired" || isLapsed(known, now)) throw expired(approvalId);
  if (status === "canceled") throw canceled(approval);
  if (status !== "denied") return;
  const denial = approval.decisions.at(-1);
  const who = denial?.decideBy ? ` by ${principalName(denial.decideBy)}` : "";
  const why = denial?.comment ? `: ${denial.comment}` : "";
  throw new SignalboxError("APPROVAL_DENIED", `approval ${approvalId} was denied${who}${why}`, {
    approval_id: approvalId,
  });
}

/** Check 3: it is approved for good. Used once: the event that uses it ends that, and the log takes only one. */
function requireApproved({ status, approval }: Known): void {
  if (status === "approved") return;
  const { approvalId } = approval;
  const message = `approval ${approvalId} is ${status}; wait until it is decided`;
  throw new SignalboxError("APPROVAL_REQUIRED", message, { approval_id: approvalId });
}

/** Check 4: the policy that asked is the present one; roles are part of it. */
function requireSamePolicy({ approvalId, policyHash }: Approval, use: Use): void {
  if (policyHash === use.policyHash) return;
  throw new SignalboxError(
    "INVALID_STATE",
    `approval ${approvalId} is void: the policy has changed since it was asked for; ask again`,
    { approval_id: approvalId, status: "VOID" },
  );
}

/** Check 5: the stored action and payload have the digest that was decided on, and what is to be done now is that action. */
function requireSameBytes(approval: Approval, { action }: Use): void {
  const { approvalId, payloadDigest: decidedOn } = approval;
  if ([approval, { ...approval, action }].every((each) => payloadDigest(each) === decidedOn)) return;
  throw new SignalboxError("PAYLOAD_MISMATCH", `what is to be done is not what was approved as ${approvalId}`, {
    approval_id: approvalId,
  });
}

/** Check 6: as many different ones as have to have approved this digest, each with the right to. */
function requireEnoughDeciders(approval: Approval): void {
  const { approvalId, requiredCount } = approval;
  const count = approvers(approval).filter((person) =>
    mayDecide(approval, { person, name: principalName(person) }),
  ).length;
  if (count >= requiredCount) return;
  const message = `approval ${approvalId} was approved by ${count} of ${requiredCount} who may decide`;
  throw new SignalboxError("PERMISSION_DENIED", message, { approval_id: approvalId });
}

/** Check 7: in the zone high_stakes none of them has a part in the question. */
function requireUninvolvedDeciders(approval: Approval): void {
  const { approvalId } = approval;
  const self = approvers(approval)
    .map(principalName)
    .find((name) => isInvolved(approval, { name, chain: [name] }));
  if (self === undefined) return;
  throw new SignalboxError("SELF_APPROVAL", `approval ${approvalId} was approved by ${self}, who has a part in it`, {
    approval_id: approvalId,
  });
}

function approvers(approval: Approval) {
  const names = new Set(approversOf(approval));
  const people = approval.decisions.flatMap(({ decideBy }) => (decideBy ? [decideBy] : []));
  return [...names].flatMap((name) => people.find((person) => principalName(person) === name) ?? []);
}
