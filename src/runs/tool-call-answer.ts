import { type ToolCall, ToolCallStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { SignalboxError } from "../kernel/errors.ts";
import type { Executed } from "./leased-runs.ts";
import type { RunRecord } from "./run-record.ts";

/** A tool call and where the log stood after the command. */
export interface ToolCallAt {
  readonly toolCall: ToolCall;
  readonly position: bigint;
}

/** The tool call after a command: with its result when there is one, without its arguments, which the worker knows. */
export async function answerOf(
  record: RunRecord,
  { state, subject = "", position, recorded }: Executed,
  toolCallId: string,
): Promise<ToolCallAt> {
  const head = state.toolCalls.get(toolCallId);
  if (head === undefined) {
    throw new SignalboxError("TOOL_CALL_NOT_FOUND", "the run has no such tool call; start it first");
  }
  const payload = recorded?.event.payload;
  if (
    payload?.case === "toolCallSucceeded" ||
    payload?.case === "toolCallReconciled" ||
    payload?.case === "toolCallReused"
  ) {
    return { toolCall: { ...head.toolCall, result: payload.value.result }, position };
  }
  const { status } = head.toolCall;
  const done = status === ToolCallStatus.SUCCEEDED || status === ToolCallStatus.RECONCILED;
  const toolCall = done ? { ...head.toolCall, result: await record.toolCallResult(subject, head) } : head.toolCall;
  return { toolCall, position };
}
