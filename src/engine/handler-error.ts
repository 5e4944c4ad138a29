import { inspect } from "node:util";
import { create } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { type RunError, RunErrorSchema, type ToolCall } from "../../gen/signalbox/v1/run_pb.ts";
import { isTooLarge, reasonOf } from "../client/reason.ts";

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
  /** The handler has returned or thrown; what it left running has nothing to write to. */
  | "finished";

const stopMessages: Record<StopCause, string> = {
  canceled: "the run was canceled, or its deadline is over",
  deadline: "the run's deadline is over",
  lease_lost: "the lease is lost; another worker may have the run",
  draining: "the worker shuts down and gives the run back",
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

/** The most characters that the record takes of a message. */
const maxMessageLength = 50_000;

/** What goes on record for whatever a handler threw. */
export function runErrorOf(thrown: unknown): RunError {
  const { code, retryable } = thrown instanceof HandlerError ? thrown : { code: "HANDLER_ERROR", retryable: true };
  return create(RunErrorSchema, { code, message: fitting(messageOf(thrown)), retryable });
}

/** What the server answers to a record that it does not take, as the handler's failure; nothing is gained by a retry. */
export function refusalOf(error: unknown): HandlerError {
  const refusal = ConnectError.from(error);
  const code = reasonOf(refusal) ?? (isTooLarge(refusal) ? "PAYLOAD_TOO_LARGE" : "RECORD_REFUSED");
  return new HandlerError(code, refusal.rawMessage, { retryable: false, cause: error });
}

function messageOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return `the handler threw ${inspect(thrown)}, which is no Error`;
  const message = thrown instanceof ConnectError ? thrown.rawMessage : thrown.message;
  return message === "" ? thrown.name : message;
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
