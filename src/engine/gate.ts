import { create } from "@bufbuild/protobuf";
import { ToolCallSchema, ToolCallStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { metadataOf } from "../client/reason.ts";
import type { Command } from "./command.ts";
import { type Entry, entryOfToolCall } from "./entry.ts";
import { HandlerError, runErrorOf } from "./handler-error.ts";
import type { ToolCallInit } from "./ledger.ts";

/** Refusals that are on record: the call is never made, whoever asks again. */
const denials: ReadonlySet<string> = new Set(["POLICY_DENIED", "APPROVAL_DENIED", "APPROVAL_EXPIRED"]);

/**
 * What is on record of a tool call that the gate did not let through: GATED with the approval that it waits for, or DENIED with
 * the reason. Undefined for an error that says nothing of that.
 */
export function heldBack(
  { sequence, key }: Command,
  { tool, effect }: ToolCallInit,
  error: unknown,
): Entry | undefined {
  if (!(error instanceof HandlerError)) return undefined;
  const { approval_id: approvalId = "", tool_call_id: toolCallId = "", position = "0" } = metadataOf(error.cause);
  const call = { toolCallId, sequence, key, tool, effect, approvalId, position: BigInt(position) };
  if (error.code === "APPROVAL_REQUIRED" && approvalId !== "") {
    return entryOfToolCall(create(ToolCallSchema, { ...call, status: ToolCallStatus.GATED }));
  }
  if (!denials.has(error.code)) return undefined;
  return entryOfToolCall(create(ToolCallSchema, { ...call, status: ToolCallStatus.DENIED, error: runErrorOf(error) }));
}

/** The approval that a tool call waits for; undefined for one that does not. */
export function awaitedApproval({ toolCall }: Entry): string | undefined {
  return toolCall?.status === ToolCallStatus.GATED && toolCall.approvalId !== "" ? toolCall.approvalId : undefined;
}
