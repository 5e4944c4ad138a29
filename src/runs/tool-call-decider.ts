import { create } from "@bufbuild/protobuf";
import type { Value } from "@bufbuild/protobuf/wkt";
import type { Usage } from "../../gen/signalbox/v1/common_pb.ts";
import {
  ToolCallFailedSchema,
  ToolCallReconciledSchema,
  ToolCallSucceededSchema,
} from "../../gen/signalbox/v1/run_event_pb.ts";
import { type RunError, ToolCallStatus, ToolCallStatusSchema } from "../../gen/signalbox/v1/run_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { equalBytes } from "../kernel/digest.ts";
import { enumName } from "../kernel/enum-name.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { runNotFound } from "./decider.ts";
import { type LeaseRef, requireLease } from "./lease-decider.ts";
import { type LiveRun, type RunState, type ToolCallHead, valueDigest } from "./state.ts";

/** A tool call as the base run has it on record. */
export interface RecordedToolCall {
  /** The run that made it. */
  readonly runId: string;
  readonly arguments: Value | undefined;
  readonly result: Value | undefined;
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

/**
 * tool_call.reconciled, by a worker under its lease or, without one, by a person; nothing when it is reconciled already.
 * LEASE_LOST, TOOL_CALL_NOT_FOUND, INVALID_STATE.
 */
export function reconcileToolCall(
  state: RunState,
  by: LeaseRef | { readonly runId: string },
  { toolCallId, result, note }: { toolCallId: string; result: Value | undefined; note: string },
): Draft | undefined {
  const lease = "leaseId" in by ? by : undefined;
  const live = lease ? requireLease(state, lease) : requireRun(state, by.runId);
  const head = requireToolCall(live, toolCallId);
  if (head.toolCall.status === ToolCallStatus.RECONCILED) return undefined;
  requireStatus(head, ToolCallStatus.UNKNOWN);
  const value = create(ToolCallReconciledSchema, { leaseId: lease?.leaseId ?? "", toolCallId, result, note });
  return { payload: { case: "toolCallReconciled", value }, zone: live.run.zone };
}

function requireRun(state: RunState, runId: string): LiveRun {
  if (state.status === "absent") throw runNotFound(runId);
  return state;
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
