import { type ToolCall, ToolCallStatus, ToolCallStatusSchema, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import type { ToolOutcome } from "../tools/tool.ts";
import { ToolError } from "../tools/tool-error.ts";
import type { Entry } from "./entry.ts";
import { HandlerError, runErrorOf, ToolOutcomeUnknownError } from "./handler-error.ts";
import type { ToolCallInit } from "./ledger.ts";

/** True when nobody can tell whether the call took effect, and repeating it blindly could do harm. */
export function isOpen(cause: unknown, { effect, idempotent }: Pick<ToolCallInit, "effect" | "idempotent">): boolean {
  if (cause instanceof ToolOutcomeUnknownError) return true;
  return cause instanceof ToolError && cause.outcomeUnknown && !idempotent && effect !== ToolEffect.READ;
}

/** The result that was looked up; throws what the tool threw when it had no effect. */
export function resultFound(outcome: ToolOutcome, cause: unknown): unknown {
  if (outcome.tookEffect) return outcome.result ?? null;
  throw cause instanceof ToolError ? cause : new ToolError("TOOL_FAILED", outcome.note, { retryable: true, cause });
}

/** What the handler gets for a call that is left open. */
export function leftOpen(cause: unknown): ToolOutcomeUnknownError {
  if (cause instanceof ToolOutcomeUnknownError) return cause;
  return new ToolOutcomeUnknownError(`${runErrorOf(cause).message}; whether it took effect is unknown`);
}

/** Throws unless the call is to be made now. */
export function requireStarted({ toolCall, command }: Entry): void {
  const status = toolCall?.status ?? ToolCallStatus.UNSPECIFIED;
  if (status === ToolCallStatus.STARTED) return;
  if (toolCall !== undefined && status === ToolCallStatus.UNKNOWN) throw outcomeUnknown(toolCall);
  const name = ToolCallStatusSchema.value[status]?.localName ?? String(status);
  throw new HandlerError("TOOL_CALL_NOT_STARTED", `tool call ${command.key} is ${name}; it may not be made now`);
}

/** What the handler gets for a call that an earlier attempt left open. */
export function outcomeUnknown(call: ToolCall): ToolOutcomeUnknownError {
  const { key, tool } = call;
  const message = `an earlier attempt called ${tool} (tool call ${key}) and its outcome is unknown; find out what happened and call ctx.reconcile("${key}", …)`;
  return new ToolOutcomeUnknownError(message, call);
}
