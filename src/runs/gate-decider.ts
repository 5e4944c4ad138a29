import { create } from "@bufbuild/protobuf";
import type { Value } from "@bufbuild/protobuf/wkt";
import type { StartToolCallRequest } from "../../gen/signalbox/v1/engine_service_pb.ts";
import type { PolicyDecision } from "../../gen/signalbox/v1/policy_pb.ts";
import {
  ToolCallDeniedSchema,
  ToolCallGatedSchema,
  ToolCallReusedSchema,
  ToolCallStartedSchema,
} from "../../gen/signalbox/v1/run_event_pb.ts";
import { RunErrorSchema, type ToolCall, ToolCallStatus } from "../../gen/signalbox/v1/run_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { argumentsDigestOf, withoutPayload } from "./gate-context.ts";
import { type LeaseRef, requireLease } from "./lease-decider.ts";
import { requireMayStart } from "./pause-decider.ts";
import type { Lease, LiveRun, RunState, ToolCallHead } from "./state.ts";
import { requireQuota, requireRoom } from "./step-decider.ts";
import type { RecordedToolCall } from "./tool-call-decider.ts";

/** Which call a worker asks for, under which lease. */
export interface Asked {
  readonly lease: LeaseRef;
  readonly toolCallId: string;
  readonly request: StartToolCallRequest;
}

/** What the policy said to a call. */
export interface Judged {
  /** Undefined when it was people who spoke. */
  readonly decision: PolicyDecision | undefined;
  /** What the call is to be made with. */
  readonly arguments: Value | undefined;
  /** The call's newest event when it was judged, 0 for none: one that has moved on has to be judged anew. */
  readonly position: bigint;
}

/** What lets a call start. */
export interface Permit extends Judged {
  /** The approval that was consumed for this start; undefined when none was needed. */
  readonly approval: { readonly approvalId: string; readonly payloadDigest: string } | undefined;
}

/** Why a call is refused for good. */
export interface Refusal extends Judged {
  readonly code: (typeof refusals)[number];
  readonly message: string;
  /** The approval that was not given; empty when the policy denies. */
  readonly approvalId: string;
}

const refusals = ["POLICY_DENIED", "APPROVAL_DENIED", "APPROVAL_EXPIRED"] as const;

/** True for a call that has its answer: nobody has to be asked whether it may start. */
export function isAnswered(head: ToolCallHead | undefined): boolean {
  if (head === undefined) return false;
  const { status } = head.toolCall;
  return status === ToolCallStatus.STARTED || head.resultDigest !== undefined || isBarred(status);
}

function isBarred(status: ToolCallStatus): boolean {
  return status === ToolCallStatus.UNKNOWN || status === ToolCallStatus.DENIED;
}

/** What the base run has on record. */
export function reuseToolCall(
  state: RunState,
  asked: Asked,
  { runId, arguments: given, result }: RecordedToolCall,
  now: Date,
): Draft | undefined {
  const live = admit(state, asked, 0n, now);
  if (live === undefined) return undefined;
  const { stepId: _step, target: _target, ...call } = described(asked);
  const value = create(ToolCallReusedSchema, { ...call, arguments: given, result, runId });
  return { payload: { case: "toolCallReused", value }, zone: live.run.zone };
}

/**
 * tool_call.started; nothing when it runs, its result is on record, or it has moved on since the permit was given, as it has
 * without one. A call that was reconciled as having had no effect starts again. LEASE_LOST, STEP_NOT_FOUND, QUOTA_EXCEEDED,
 * BUDGET_EXCEEDED, PAUSE_REQUESTED, INVALID_STATE while its outcome is unknown, and why it was refused for good.
 */
export function startToolCall(state: RunState, asked: Asked, permit: Permit | undefined, now: Date): Draft | undefined {
  const live = admit(state, asked, permit?.position, now);
  if (live === undefined || permit === undefined) return undefined;
  requireRoom(live.toolCalls, ({ toolCall: { status } }) => status === ToolCallStatus.STARTED);
  const { approvalId = "", payloadDigest = "" } = permit.approval ?? {};
  const value = create(ToolCallStartedSchema, { ...judged(asked, permit), approvalId, payloadDigest });
  return { payload: { case: "toolCallStarted", value }, zone: live.run.zone };
}

/** tool_call.gated for a call that has to wait for the approval; nothing when it has moved on. The errors of `startToolCall`. */
export function holdToolCall(
  state: RunState,
  asked: Asked,
  verdict: Judged & { readonly approvalId: string },
  now: Date,
): Draft | undefined {
  const live = admit(state, asked, verdict.position, now);
  return live && gated(live, asked, verdict, verdict.approvalId);
}

/**
 * tool_call.gated for a call that a kill switch holds back; nothing when that is on record under this lease for the same flip,
 * or the call has moved on. The errors of `startToolCall`.
 */
export function stopToolCall(state: RunState, asked: Asked, verdict: Judged, now: Date): Draft | undefined {
  const live = admit(state, asked, verdict.position, now);
  if (live === undefined || live.lease.stops.get(asked.toolCallId) === verdict.decision?.killEpoch) return undefined;
  return gated(live, asked, verdict, "");
}

/**
 * tool_call.gated for a call that was started behind the flip of a kill switch, its worker not told to go yet; nothing when it
 * has moved on from that start. LEASE_LOST.
 */
export function revokeStart(state: RunState, asked: Asked, verdict: Judged): Draft | undefined {
  const live = requireLease(state, asked.lease);
  const call = live.toolCalls.get(asked.toolCallId)?.toolCall;
  if (call?.status !== ToolCallStatus.STARTED || call.position !== verdict.position) return undefined;
  return gated(live, asked, verdict, "");
}

/** tool_call.denied; nothing when the call has moved on since it was judged. The errors of `startToolCall`. */
export function denyToolCall(state: RunState, asked: Asked, refusal: Refusal, now: Date): Draft | undefined {
  const live = admit(state, asked, refusal.position, now);
  if (live === undefined) return undefined;
  const { code, message, approvalId } = refusal;
  const error = create(RunErrorSchema, { code, message, retryable: false });
  const value = create(ToolCallDeniedSchema, { ...judged(asked, refusal), approvalId, error });
  return { payload: { case: "toolCallDenied", value }, zone: live.run.zone };
}

/** The error of a call that was refused for good, as it is on record. */
export function refusalOf({
  toolCallId,
  approvalId,
  error,
  reasonCodes,
  matchedRule,
  position,
}: ToolCall): SignalboxError {
  const reason = refusals.find((each) => each === error?.code) ?? "POLICY_DENIED";
  return new SignalboxError(reason, error?.message ?? "refused", {
    tool_call_id: toolCallId,
    position: String(position),
    ...(approvalId === "" ? {} : { approval_id: approvalId }),
    ...(reason === "POLICY_DENIED" ? { reason_codes: reasonCodes.join(","), matched_rule: matchedRule } : {}),
  });
}

/** The run when the call may be judged as it is now; undefined when it has its answer, or has moved on from the position. */
function admit(
  state: RunState,
  { lease, toolCallId, request: { stepId } }: Asked,
  position: bigint | undefined,
  now: Date,
): (LiveRun & { readonly lease: Lease }) | undefined {
  const live = requireLease(state, lease);
  const head = live.toolCalls.get(toolCallId);
  if (head !== undefined && isBarred(head.toolCall.status)) throw barred(head.toolCall);
  if (isAnswered(head)) return undefined;
  if (head === undefined) requireQuota("tool calls", live.toolCalls.size);
  if (stepId !== "" && !live.steps.has(stepId)) {
    throw new SignalboxError("STEP_NOT_FOUND", `run ${live.run.runId} has no step ${stepId}; start it first`);
  }
  requireMayStart(live, now);
  return (head?.toolCall.position ?? 0n) === position ? live : undefined;
}

function barred(call: ToolCall): SignalboxError {
  if (call.status === ToolCallStatus.DENIED) return refusalOf(call);
  return new SignalboxError(
    "INVALID_STATE",
    `the outcome of tool call ${call.toolCallId} is unknown; find out what happened and call ReconcileToolCall`,
    { status: "UNKNOWN" },
  );
}

function gated({ run }: LiveRun, asked: Asked, verdict: Judged, approvalId: string): Draft {
  const argumentsDigest = argumentsDigestOf(asked.request.arguments);
  const value = create(ToolCallGatedSchema, { ...judged(asked, verdict), approvalId, argumentsDigest });
  return { payload: { case: "toolCallGated", value }, zone: run.zone };
}

/** What the worker says of the call. */
function described({ lease: { leaseId }, toolCallId, request }: Asked) {
  const { key, stepId, tool, target, effect, idempotent, reversible, sequence, version } = request;
  return { leaseId, toolCallId, key, stepId, tool, target, effect, idempotent, reversible, sequence, version };
}

/** What the worker says of the call, as far as the registry of actions does not know better, and what the policy said. */
function judged(asked: Asked, { decision, arguments: given }: Judged) {
  const call = { ...described(asked), arguments: given };
  if (decision === undefined) return call;
  const { effect, reversible } = decision.action ?? call;
  return { ...call, effect, reversible, decision: withoutPayload(decision) };
}
