import type { Value } from "@bufbuild/protobuf/wkt";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { PolicyDecision } from "../../gen/signalbox/v1/policy_pb.ts";

/** A decision as an event has it. */
export interface RecordedDecision {
  readonly runId: string;
  /** Empty when it was no tool call. */
  readonly toolCallId: string;
  readonly position: bigint;
  readonly decision: PolicyDecision;
  /** What stands beside it. */
  readonly payload: Value | undefined;
}

/**
 * The decision that an event records; undefined when it records none, or one of an earlier version without its context. What
 * an approval of a tool call says stands in the call's own event, so it does not count twice. Pure.
 */
export function recordedDecision({ payload, stream, position }: Event): RecordedDecision | undefined {
  if (payload.case === "approvalRequested") {
    const { runId, toolCallId, decision, payload: given } = payload.value;
    if (decision?.context === undefined || toolCallId !== "") return undefined;
    return { runId, toolCallId, position, decision, payload: given };
  }
  const isOfToolCall =
    payload.case === "toolCallStarted" || payload.case === "toolCallGated" || payload.case === "toolCallDenied";
  if (!isOfToolCall) return undefined;
  const { toolCallId, decision, arguments: given } = payload.value;
  if (decision?.context === undefined) return undefined;
  return { runId: stream?.id ?? "", toolCallId, position, decision, payload: given };
}
