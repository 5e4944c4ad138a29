import { create, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate, type Value } from "@bufbuild/protobuf/wkt";
import { type Approval, ApprovalVerdict } from "../../gen/signalbox/v1/approval_pb.ts";
import {
  DecideApprovalRequestSchema,
  DelegateApprovalRequestSchema,
  EditApprovalRequestSchema,
} from "../../gen/signalbox/v1/approval_service_pb.ts";
import { type Principal, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { type Event, EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import {
  type ApprovalTermsSchema,
  Decision,
  PolicyDecisionSchema,
  Risk,
  type Role,
  RoleSchema,
} from "../../gen/signalbox/v1/policy_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import type { Use } from "../../src/approvals/consume-decider.ts";
import { decideApproval, delegateApproval, editApproval } from "../../src/approvals/decider.ts";
import { type NewApproval, requestApproval } from "../../src/approvals/request-decider.ts";
import { type ApprovalState, evolveApprovalState } from "../../src/approvals/state.ts";
import { jsonValue } from "../../src/client/client.ts";
import type { Draft } from "../../src/eventlog/aggregates.ts";
import { onBehalfOf, principalOfName } from "../../src/kernel/principal.ts";

/** The approval of these tests, and what it is for. */
const approvalId = "appr_01ARZ3NDEKTSV4RRFFQ69G5FAV";
export const workspaceId = "ws_one";
export const runId = "run_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const toolCallId = "tc_01ARZ3NDEKTSV4RRFFQ69G5FAV";
export const agentName = "agent:agt_01ARZ3NDEKTSV4RRFFQ69G5FAV";
export const policyHash = "a".repeat(64);
export const ttlMs = 3_600_000;

/** Nobody has asked yet. */
export const absent: ApprovalState = { status: "absent" };

type Terms = Exclude<MessageInitShape<typeof ApprovalTermsSchema>, Message>;

/** What of a request differs from the usual one. */
export interface Asking extends Partial<NewApproval> {
  readonly terms?: Terms;
  readonly risk?: Risk;
  readonly hash?: string;
}

/** A principal by name, on behalf of others, nearest first. */
export function principal(name: string, ...behind: string[]): Principal {
  const [own, ...chain] = [name, ...behind].map(principalOfName);
  if (own === undefined) throw new Error(`${name} is no principal`);
  return onBehalfOf(
    own,
    chain.flatMap((each) => each ?? []),
  );
}

/** A request: an agent of alice's wants to send a mail, somebody has to approve within the hour. */
export function asking({ terms, risk = Risk.HIGH, hash = policyHash, ...fields }: Asking = {}): NewApproval {
  return {
    approvalId,
    runId,
    toolCallId,
    stepId: "",
    agentId: agentName.slice("agent:".length),
    roomId: "",
    threadId: "",
    zone: Zone.SUPERVISED,
    payload: jsonValue({ to: "bob@example.com", text: "hello" }),
    requestedBy: principal(agentName, "user:alice"),
    editedBy: undefined,
    decision: create(PolicyDecisionSchema, {
      decision: Decision.REQUIRE_APPROVAL,
      reasonCodes: ["EXTERNAL_WRITE"],
      matchedRule: "default.external_write",
      policyVersion: 3n,
      policyHash: hash,
      risk,
      message: "mails leave the house",
      action: { type: "mail.send", target: "mailto:bob@example.com", effect: ToolEffect.EXTERNAL_WRITE },
      terms: { ttl: durationFromMs(ttlMs), ...terms },
    }),
    ...fields,
  };
}

/** The time that these tests begin at, and so many milliseconds later. */
export function at(ms = 0): Date {
  return new Date(Date.UTC(2026, 4, 4) + ms);
}

/** The event of a decision in the stream of the approval. */
export function eventOf(draft: Draft, streamSequence: bigint, now: Date, roomId = ""): Event {
  return create(EventSchema, {
    position: streamSequence * 10n,
    workspaceId,
    roomId,
    stream: { type: "approval", id: approvalId },
    streamSequence,
    createTime: timestampFromDate(now),
    zone: draft.zone,
    payload: draft.payload,
  });
}

/** The state after a decision, made at `now`; the same state when nothing was decided. */
export function after(state: ApprovalState, draft: Draft | undefined, now: Date = at()): ApprovalState {
  if (draft === undefined) return state;
  const sequence = state.status === "absent" ? 1n : state.changes + 1n;
  return evolveApprovalState(state, eventOf(draft, sequence, now));
}

/** An approval that was asked for at the start. */
export function requested(fields: Asking = {}, roles: readonly Role[] = []): ApprovalState {
  return after(absent, requestApproval(absent, workspaceId, asking(fields), roles, at()));
}

/** A role of the policy. */
export function role(name: string, ...members: string[]): Role {
  return create(RoleSchema, { name, members });
}

/** The approval of a state. */
export function approvalOf(state: ApprovalState): Approval {
  if (state.status === "absent") throw new Error("nobody has asked");
  return state.approval;
}

/** Decides on the present payload, unless `digest` names another one. */
export function decide(
  state: ApprovalState,
  who: Principal,
  verdict: ApprovalVerdict,
  now: Date = at(1_000),
  digest = state.status === "absent" ? "" : state.approval.payloadDigest,
): Draft | undefined {
  const request = create(DecideApprovalRequestSchema, {
    approvalId,
    verdict,
    payloadDigest: digest,
    comment: "because",
  });
  return decideApproval(state, who, request, now);
}

/** The state after a decision. */
export function decided(
  state: ApprovalState,
  name: string,
  verdict: ApprovalVerdict,
  now: Date = at(1_000),
): ApprovalState {
  return after(state, decide(state, principal(name), verdict, now), now);
}

/** Replaces the present payload. */
export function edit(
  state: ApprovalState,
  who: Principal,
  payload: Value,
  now: Date = at(1_000),
  digest = state.status === "absent" ? "0".repeat(64) : state.approval.payloadDigest,
): Draft | undefined {
  return editApproval(
    state,
    who,
    create(EditApprovalRequestSchema, { approvalId, payload, payloadDigest: digest }),
    now,
  );
}

/** The state after an edit. */
export function edited(state: ApprovalState, name: string, payload: Value, now: Date = at(1_000)): ApprovalState {
  return after(state, edit(state, principal(name), payload, now), now);
}

/** Lets somebody else decide. */
export function delegate(state: ApprovalState, who: Principal, to: string, now: Date = at(1_000)): Draft | undefined {
  return delegateApproval(state, who, create(DelegateApprovalRequestSchema, { approvalId, delegateTo: to }), now);
}

/** The state after a delegation. */
export function delegated(state: ApprovalState, name: string, to: string, now: Date = at(1_000)): ApprovalState {
  return after(state, delegate(state, principal(name), to, now), now);
}

/** The use that the approval is for. */
export function use(fields: Partial<Use> = {}): Use {
  return {
    approvalId,
    runId,
    toolCallId,
    stepId: "",
    leaseId: "lease_1",
    action: asking().decision.action,
    policyHash,
    ...fields,
  };
}

/** The verdicts. */
export const { APPROVE, DENY, HOLD } = ApprovalVerdict;
