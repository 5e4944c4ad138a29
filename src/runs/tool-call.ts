import { create } from "@bufbuild/protobuf";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type {
  ToolCallDenied,
  ToolCallGated,
  ToolCallReused,
  ToolCallStarted,
} from "../../gen/signalbox/v1/run_event_pb.ts";
import {
  RunErrorSchema,
  type ToolCall,
  ToolCallSchema,
  ToolCallStatus,
  ToolEffect,
} from "../../gen/signalbox/v1/run_pb.ts";
import { leaseEndOf } from "./lease-end.ts";
import { isStop } from "./stops.ts";

/** The ids of the tool calls that an event changes. Pure. */
export function toolCallIdsOf(event: Event): readonly string[] {
  const { payload } = event;
  if (
    payload.case === "toolCallStarted" ||
    payload.case === "toolCallSucceeded" ||
    payload.case === "toolCallFailed" ||
    payload.case === "toolCallReconciled" ||
    payload.case === "toolCallReused" ||
    payload.case === "toolCallGated" ||
    payload.case === "toolCallDenied"
  ) {
    return [payload.value.toolCallId];
  }
  const lease = leaseEndOf(event);
  return lease ? [...lease.failedToolCallIds, ...lease.unknownToolCallIds] : [];
}

/** The tool call after an event that changes it; undefined until it was asked for. Pure. */
export function evolveToolCall(call: ToolCall | undefined, event: Event): ToolCall | undefined {
  const { payload } = event;
  if (payload.case === "toolCallStarted") return startedCall(call, event, payload.value);
  if (payload.case === "toolCallReused") return reusedCall(event, payload.value);
  if (payload.case === "toolCallGated") return gatedCall(call, event, payload.value);
  if (payload.case === "toolCallDenied") return deniedCall(call, event, payload.value);
  if (call === undefined) return undefined;
  const wasStarted = call.status === ToolCallStatus.STARTED;
  const endPosition = wasStarted ? event.position : call.endPosition;
  const ended = { ...call, endTime: event.createTime, endPosition, position: event.position };
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

/** What an event that holds a call back, starts it or refuses it says of it, on top of what was known. */
function askedCall(
  call: ToolCall | undefined,
  event: Event,
  asked: ToolCallStarted | ToolCallGated | ToolCallDenied,
): ToolCall {
  const { toolCallId, stepId, key, tool, target, effect, idempotent, reversible, sequence, version, decision } = asked;
  return create(ToolCallSchema, {
    toolCallId,
    runId: event.stream?.id ?? "",
    stepId,
    key,
    tool,
    target,
    effect,
    idempotent,
    reversible,
    sequence,
    version,
    arguments: asked.arguments,
    attempt: call?.attempt ?? 0,
    startPosition: call?.startPosition ?? 0n,
    lastStartPosition: call?.lastStartPosition ?? 0n,
    requestTime: call?.requestTime ?? event.createTime,
    requestPosition: call?.requestPosition ?? event.position,
    position: event.position,
    reasonCodes: decision?.reasonCodes ?? call?.reasonCodes ?? [],
    matchedRule: decision?.matchedRule ?? call?.matchedRule ?? "",
    policyVersion: decision?.policyVersion ?? call?.policyVersion ?? 0n,
    gateCount: call?.gateCount ?? 0,
    stopPosition: call?.stopPosition ?? 0n,
    endPosition: call?.endPosition ?? 0n,
  });
}

function startedCall(call: ToolCall | undefined, event: Event, started: ToolCallStarted): ToolCall {
  const asked = askedCall(call, event, started);
  return {
    ...asked,
    status: ToolCallStatus.STARTED,
    approvalId: started.approvalId,
    attempt: asked.attempt + 1,
    startTime: event.createTime,
    startPosition: asked.startPosition || event.position,
    lastStartPosition: event.position,
    endPosition: 0n,
  };
}

function gatedCall(call: ToolCall | undefined, event: Event, gated: ToolCallGated): ToolCall {
  const asked = askedCall(call, event, gated);
  const status = ToolCallStatus.GATED;
  const gateCount = asked.gateCount + 1;
  const stopPosition = isStop(gated) ? event.position : asked.stopPosition;
  // A kill switch takes nothing from an approval that is waited for. One that was used for a start is gone.
  const waitsFor = call?.status === ToolCallStatus.GATED ? call.approvalId : "";
  // A start that is taken back is over.
  const endPosition = call?.status === ToolCallStatus.STARTED ? event.position : asked.endPosition;
  return { ...asked, status, gateCount, stopPosition, endPosition, approvalId: gated.approvalId || waitsFor };
}

function deniedCall(call: ToolCall | undefined, event: Event, denied: ToolCallDenied): ToolCall {
  const { approvalId, error } = denied;
  return {
    ...askedCall(call, event, denied),
    status: ToolCallStatus.DENIED,
    approvalId: approvalId || (call?.approvalId ?? ""),
    error,
    endTime: event.createTime,
  };
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
    lastStartPosition: event.position,
    endPosition: event.position,
    requestTime: event.createTime,
    requestPosition: event.position,
    version,
    reversible,
    reusedFromRunId: runId,
  });
}

/** True when calling again can do no harm after the outcome was lost. */
export function repeatable({ effect, idempotent }: ToolCall): boolean {
  return idempotent || effect === ToolEffect.READ;
}
