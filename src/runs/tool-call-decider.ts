import { create } from "@bufbuild/protobuf";
import type { Value } from "@bufbuild/protobuf/wkt";
import type { Usage } from "../../gen/signalbox/v1/common_pb.ts";
import type { StartToolCallRequest } from "../../gen/signalbox/v1/engine_service_pb.ts";
import {
  ToolCallFailedSchema,
  ToolCallReconciledSchema,
  ToolCallReusedSchema,
  ToolCallStartedSchema,
  ToolCallSucceededSchema,
} from "../../gen/signalbox/v1/run_event_pb.ts";
import { type RunError, ToolCallStatus, ToolCallStatusSchema } from "../../gen/signalbox/v1/run_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { equalBytes } from "../kernel/digest.ts";
import { enumName } from "../kernel/enum-name.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { type LeaseRef, requireLease } from "./lease-decider.ts";
import { requireMayStart } from "./pause-decider.ts";
import { type LiveRun, type RunState, type ToolCallHead, valueDigest } from "./state.ts";
import { requireQuota, requireRoom } from "./step-decider.ts";

/** A tool call as the base run has it on record. */
export interface RecordedToolCall {
  /** The run that made it. */
  readonly runId: string;
  readonly arguments: Value | undefined;
  readonly result: Value | undefined;
}

/**
 * tool_call.started, or tool_call.reused when the base run has its result on record; nothing when it runs or its result is
 * on record here. A call that was reconciled as having had no effect starts again. LEASE_LOST, STEP_NOT_FOUND,
 * QUOTA_EXCEEDED, BUDGET_EXCEEDED, PAUSE_REQUESTED, INVALID_STATE while its outcome is unknown.
 */
export function startToolCall(
  state: RunState,
  lease: LeaseRef,
  toolCallId: string,
  request: StartToolCallRequest,
  now: Date,
  recorded?: RecordedToolCall,
): Draft | undefined {
  const live = requireLease(state, lease);
  const head = live.toolCalls.get(toolCallId);
  if (head?.toolCall.status === ToolCallStatus.STARTED || head?.resultDigest !== undefined) return undefined;
  if (head?.toolCall.status === ToolCallStatus.UNKNOWN) throw outcomeUnknown(toolCallId);
  if (head === undefined) requireQuota("tool calls", live.toolCalls.size);
  const { key, stepId, tool, effect, idempotent, arguments: given, sequence, version, reversible } = request;
  if (stepId !== "" && !live.steps.has(stepId)) {
    throw new SignalboxError("STEP_NOT_FOUND", `run ${live.run.runId} has no step ${stepId}; start it first`);
  }
  requireMayStart(live, now);
  const call = { leaseId: lease.leaseId, toolCallId, key, tool, effect, idempotent, sequence, version, reversible };
  const { zone } = live.run;
  if (head === undefined && recorded !== undefined) {
    return { payload: { case: "toolCallReused", value: create(ToolCallReusedSchema, { ...call, ...recorded }) }, zone };
  }
  requireRoom(
    [...live.toolCalls.values()].filter(({ toolCall: { status } }) => status === ToolCallStatus.STARTED).length,
  );
  const value = create(ToolCallStartedSchema, { ...call, stepId, arguments: given });
  return { payload: { case: "toolCallStarted", value }, zone };
}

/** tool_call.succeeded; nothing when it succeeded with the same result. LEASE_LOST, TOOL_CALL_NOT_FOUND, INVALID_STATE. */
export function succeedToolCall(
  state: RunState,
  lease: LeaseRef,
  { toolCallId, result, usage }: { toolCallId: string; result: Value | undefined; usage: Usage | undefined },
): Draft | undefined {
  const live = requireLease(state, lease);
  const head = requireToolCall(live, toolCallId);
  if (head.resultDigest !== undefined && equalBytes(head.resultDigest, valueDigest(result))) return undefined;
  requireStatus(head, ToolCallStatus.STARTED);
  const value = create(ToolCallSucceededSchema, { leaseId: lease.leaseId, toolCallId, result, usage });
  return { payload: { case: "toolCallSucceeded", value }, zone: live.run.zone };
}

/** tool_call.failed; nothing when it has failed already. LEASE_LOST, TOOL_CALL_NOT_FOUND, INVALID_STATE. */
export function failToolCall(
  state: RunState,
  lease: LeaseRef,
  { toolCallId, error, usage }: { toolCallId: string; error: RunError | undefined; usage: Usage | undefined },
): Draft | undefined {
  const live = requireLease(state, lease);
  const head = requireToolCall(live, toolCallId);
  if (head.toolCall.status === ToolCallStatus.FAILED) return undefined;
  requireStatus(head, ToolCallStatus.STARTED);
  const value = create(ToolCallFailedSchema, { leaseId: lease.leaseId, toolCallId, error, usage });
  return { payload: { case: "toolCallFailed", value }, zone: live.run.zone };
}

/** tool_call.reconciled; nothing when it is reconciled already. LEASE_LOST, TOOL_CALL_NOT_FOUND, INVALID_STATE. */
export function reconcileToolCall(
  state: RunState,
  lease: LeaseRef,
  { toolCallId, result, note }: { toolCallId: string; result: Value | undefined; note: string },
): Draft | undefined {
  const live = requireLease(state, lease);
  const head = requireToolCall(live, toolCallId);
  if (head.toolCall.status === ToolCallStatus.RECONCILED) return undefined;
  requireStatus(head, ToolCallStatus.UNKNOWN);
  const value = create(ToolCallReconciledSchema, { leaseId: lease.leaseId, toolCallId, result, note });
  return { payload: { case: "toolCallReconciled", value }, zone: live.run.zone };
}

function outcomeUnknown(toolCallId: string): SignalboxError {
  return new SignalboxError(
    "INVALID_STATE",
    `the outcome of tool call ${toolCallId} is unknown; find out what happened and call ReconcileToolCall`,
    { status: "UNKNOWN" },
  );
}

function requireToolCall({ run, toolCalls }: LiveRun, toolCallId: string): ToolCallHead {
  const head = toolCalls.get(toolCallId);
  if (head === undefined) {
    throw new SignalboxError("TOOL_CALL_NOT_FOUND", `run ${run.runId} has no tool call ${toolCallId}; start it first`);
  }
  return head;
}

function requireStatus({ toolCall }: ToolCallHead, wanted: ToolCallStatus): void {
  if (toolCall.status === wanted) return;
  const status = enumName(ToolCallStatusSchema, toolCall.status);
  throw new SignalboxError(
    "INVALID_STATE",
    `tool call ${toolCall.toolCallId} is ${status}, but this needs it to be ${enumName(ToolCallStatusSchema, wanted)}`,
    { status },
  );
}
