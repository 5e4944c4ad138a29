import { create } from "@bufbuild/protobuf";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { ToolCallReused, ToolCallStarted } from "../../gen/signalbox/v1/run_event_pb.ts";
import {
  RunErrorSchema,
  type ToolCall,
  ToolCallSchema,
  ToolCallStatus,
  ToolEffect,
} from "../../gen/signalbox/v1/run_pb.ts";
import { leaseEndOf } from "./lease-end.ts";

/** The ids of the tool calls that an event changes. Pure. */
export function toolCallIdsOf(event: Event): readonly string[] {
  const { payload } = event;
  if (
    payload.case === "toolCallStarted" ||
    payload.case === "toolCallSucceeded" ||
    payload.case === "toolCallFailed" ||
    payload.case === "toolCallReconciled" ||
    payload.case === "toolCallReused"
  ) {
    return [payload.value.toolCallId];
  }
  const lease = leaseEndOf(event);
  return lease ? [...lease.failedToolCallIds, ...lease.unknownToolCallIds] : [];
}

/** The tool call after an event that changes it; undefined until it was started. Pure. */
export function evolveToolCall(call: ToolCall | undefined, event: Event): ToolCall | undefined {
  const { payload } = event;
  if (payload.case === "toolCallStarted") return startedCall(call, event, payload.value);
  if (payload.case === "toolCallReused") return reusedCall(event, payload.value);
  if (call === undefined) return undefined;
  const ended = { ...call, endTime: event.createTime, position: event.position };
  if (payload.case === "toolCallSucceeded") {
    return { ...ended, status: ToolCallStatus.SUCCEEDED, result: payload.value.result };
  }
  if (payload.case === "toolCallFailed") {
    return { ...ended, status: ToolCallStatus.FAILED, error: payload.value.error };
  }
  if (payload.case === "toolCallReconciled") {
    const { result, note } = payload.value;
    return { ...ended, status: ToolCallStatus.RECONCILED, result, note };
  }
  const unknown = leaseEndOf(event)?.unknownToolCallIds.includes(call.toolCallId) ?? false;
  if (unknown) return { ...ended, status: ToolCallStatus.UNKNOWN };
  const error = create(RunErrorSchema, { code: "LEASE_ENDED", message: "the lease ended first", retryable: true });
  return { ...ended, status: ToolCallStatus.FAILED, error };
}

function startedCall(call: ToolCall | undefined, event: Event, started: ToolCallStarted): ToolCall {
  const {
    toolCallId,
    stepId,
    key,
    tool,
    effect,
    idempotent,
    arguments: given,
    sequence,
    version,
    reversible,
  } = started;
  return create(ToolCallSchema, {
    toolCallId,
    runId: event.stream?.id ?? "",
    stepId,
    key,
    tool,
    effect,
    idempotent,
    status: ToolCallStatus.STARTED,
    arguments: given,
    attempt: (call?.attempt ?? 0) + 1,
    startTime: event.createTime,
    position: event.position,
    sequence,
    startPosition: call?.startPosition ?? event.position,
    version,
    reversible,
  });
}

function reusedCall(event: Event, reused: ToolCallReused): ToolCall {
  const { toolCallId, key, tool, version, effect, idempotent, reversible, sequence, result, runId } = reused;
  return create(ToolCallSchema, {
    toolCallId,
    runId: event.stream?.id ?? "",
    key,
    tool,
    effect,
    idempotent,
    status: ToolCallStatus.SUCCEEDED,
    arguments: reused.arguments,
    result,
    startTime: event.createTime,
    endTime: event.createTime,
    position: event.position,
    sequence,
    startPosition: event.position,
    version,
    reversible,
    reusedFromRunId: runId,
  });
}

/** True when calling again can do no harm after the outcome was lost. */
export function repeatable({ effect, idempotent }: ToolCall): boolean {
  return idempotent || effect === ToolEffect.READ;
}
