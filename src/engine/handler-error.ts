import { inspect } from "node:util";
import { create } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { type RunError, RunErrorSchema, type ToolCall } from "../../gen/signalbox/v1/run_pb.ts";
import { isTooLarge, reasonOf } from "../client/reason.ts";
import { ModelError } from "../models/model.ts";
import { ToolError } from "../tools/tool-error.ts";

/** What a handler throws to say how it failed. Any other error counts as `HANDLER_ERROR`, retryable. */
export class HandlerError extends Error {
  override readonly name: string = "HandlerError";
  /** A short constant, for example `RATE_LIMITED`; the run's retry policy may name it. */
  readonly code: string;
  /** Whether another attempt can help. */
  readonly retryable: boolean;

  /** `code` has 1 to 100 characters; `retryable` is true unless said otherwise. Throws a RangeError for a bad code. */
  constructor(code: string, message: string, options: { retryable?: boolean; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    if (code.length < 1 || code.length > 100) {
      throw new RangeError(`an error code has 1 to 100 characters; got ${JSON.stringify(code)}`);
    }
    this.code = code;
    this.retryable = options.retryable ?? true;
  }
}

/**
 * Thrown by `ctx.tool` for a call that an earlier attempt started and nobody knows the end of: find out, and say so with
 * `ctx.reconcile`. When the handler lets it pass, the run fails for good. A tool's own function throws it, without a
 * call, when it can not tell whether the tool took effect: the call is then left open, and becomes unknown.
 */
export class ToolOutcomeUnknownError extends HandlerError {
  override readonly name = "ToolOutcomeUnknownError";
  /** The call as it is on record; undefined when the tool's own function threw the error. */
  readonly toolCall: ToolCall | undefined;

  constructor(message: string, toolCall?: ToolCall) {
    // The first attempt to see the call unknown can reconcile it; one that was told so and did not never will.
    super("TOOL_OUTCOME_UNKNOWN", message, { retryable: toolCall === undefined });
    this.toolCall = toolCall;
  }
}

/** Thrown by `ctx.run` for a child run that failed or was canceled: the child's code, and its message behind the run's id. */
export class ChildRunError extends HandlerError {
  override readonly name = "ChildRunError";
  readonly childRunId: string;

  constructor(childRunId: string, code: string, message: string) {
    super(code, message, { retryable: false });
    this.childRunId = childRunId;
  }
}

/** Why the signal of a handler aborted. */
export type StopCause =
  /** The run was canceled, or failed at its deadline. */
  | "canceled"
  /** The run's deadline is over. */
  | "deadline"
  /** The lease is gone, or nobody can tell: another worker may have the run. */
  | "lease_lost"
  /** The worker shuts down and gives the run back. */
  | "draining"
  /** The run waits; its handler starts again from its first line when the wait is over. */
  | "suspended"
  /** The run stands still until somebody resumes it. */
  | "paused"
  /** The handler has returned or thrown; what it left running has nothing to write to. */
  | "finished";

const stopMessages: Record<StopCause, string> = {
  canceled: "the run was canceled, or its deadline is over",
  deadline: "the run's deadline is over",
  lease_lost: "the lease is lost; another worker may have the run",
  draining: "the worker shuts down and gives the run back",
  suspended: "the run waits, and its handler will start again",
  paused: "the run is paused, and its handler will start again",
  finished: "the handler has ended already",
};

/** The reason of a handler's aborted signal, and what `ctx.step` and its like throw then. Nothing is recorded any more. */
export class RunStoppedError extends Error {
  override readonly name = "RunStoppedError";
  readonly why: StopCause;

  constructor(why: StopCause) {
    super(stopMessages[why]);
    this.why = why;
  }
}

const unshowable = "the handler threw something that can not be shown";

/** The most characters that the record takes of a message. */
const maxMessageLength = 50_000;

/** What goes on record for whatever a handler, a tool or a model threw. Never throws. */
export function runErrorOf(thrown: unknown): RunError {
  const error = tame(thrown);
  const hasCode = error instanceof HandlerError || error instanceof ModelError || error instanceof ToolError;
  const { code, retryable } = hasCode ? error : { code: "HANDLER_ERROR", retryable: true };
  return create(RunErrorSchema, { code: code.slice(0, 100), message: fitting(messageOf(error)), retryable });
}

/** A recorded failure as the handler gets it: the same when it happens and in a replay, the cause apart. */
export function failureOf({ code, message, retryable }: RunError, cause?: unknown): HandlerError {
  if (cause instanceof HandlerError) return cause;
  return new HandlerError(code === "" ? "HANDLER_ERROR" : code, message, { retryable, cause });
}

/** What was thrown, or an Error in its place when looking at it throws, as a proxy may. */
export function tame(thrown: unknown): unknown {
  try {
    Object.getPrototypeOf(Object(thrown));
    return thrown;
  } catch {
    return new HandlerError("HANDLER_ERROR", unshowable);
  }
}

/** What the server answers to a record that it does not take, as the handler's failure; nothing is gained by a retry. */
export function refusalOf(error: unknown): HandlerError {
  const refusal = ConnectError.from(error);
  const code = reasonOf(refusal) ?? (isTooLarge(refusal) ? "PAYLOAD_TOO_LARGE" : "RECORD_REFUSED");
  return new HandlerError(code, refusal.rawMessage, { retryable: false, cause: error });
}

function messageOf(thrown: unknown): string {
  try {
    if (!(thrown instanceof Error)) return `the handler threw ${inspect(thrown)}, which is no Error`;
    const message: unknown = thrown instanceof ConnectError ? thrown.rawMessage : thrown.message;
    if (typeof message !== "string") return inspect(message);
    return message === "" ? thrown.name : message;
  } catch {
    return unshowable;
  }
}

function fitting(message: string): string {
  const text = message.toWellFormed();
  if (text.length <= maxMessageLength) return text;
  const notice = `this error message had ${text.length} characters, more than the ${maxMessageLength} that are kept; it begins:\n`;
  const end = "\n[truncated]";
  // Well-formed again, as the cut may fall between two halves of a character.
  const begin = text.slice(0, maxMessageLength - notice.length - end.length).toWellFormed();
  return notice + begin + end;
}
