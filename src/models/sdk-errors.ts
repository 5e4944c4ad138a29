import { ModelError, type ModelUsage } from "./model.ts";

/** What is known about a call that failed. */
export interface Troubled {
  readonly model: string;
  /** What must not be shown; empty for none. */
  readonly secret: string;
  /** What the call consumed; undefined when it was not accepted. */
  readonly usage: ModelUsage | undefined;
  /** What has come; undefined when the call was not accepted. */
  readonly stream: { readonly started: boolean } | undefined;
}

// The errors of the SDK hold the whole conversation, so none becomes the cause of ours: logs print causes.
const maxMessageLength = 500;

/** The error of a call as callers know it; the signal's reason, as it is, once the signal has aborted for a reason of theirs. */
export function modelErrorOf(error: unknown, trouble: Troubled, signal: AbortSignal): unknown {
  const { model, usage } = trouble;
  if (signal.aborted && !(signal.reason instanceof ModelError)) return signal.reason;
  const cause = unwrapped(signal.aborted ? signal.reason : error);
  if (cause instanceof ModelError) {
    const { code, message, retryable } = cause;
    return made(code, retryable, message);
  }
  const { status, headers, body } = responseOf(cause);
  if (status !== undefined && !(status >= 200 && status < 300)) return refusalOf(status, headers, body, cause, trouble);
  if (trouble.stream === undefined) {
    if (isUnreachable(cause)) return made("MODEL_UNAVAILABLE", true, `can not be reached: ${text(cause)}`);
    return made("MODEL_BAD_ANSWER", true, `the answer makes no sense: ${text(cause)}`);
  }
  if (isNonsense(cause)) {
    // A body that holds no event at all is no answer that was cut.
    return trouble.stream.started && isEnd(cause)
      ? made("MODEL_STREAM_CUT", true, "the connection broke in the middle of the answer")
      : made("MODEL_BAD_ANSWER", true, `the answer makes no sense: ${text(cause)}`);
  }
  if (cause instanceof Error) return made("MODEL_STREAM_CUT", true, `the answer was cut: ${text(cause)}`);
  return made("MODEL_UNAVAILABLE", true, `broke off with an error: ${text(cause)}`);

  function made(code: ModelError["code"], retryable: boolean, message: string): ModelError {
    return new ModelError(code, shown(`${model} ${message}`, trouble), { retryable, usage });
  }
}

function refusalOf(
  status: number,
  headers: Readonly<Record<string, string>>,
  body: string,
  cause: unknown,
  trouble: Troubled,
): ModelError {
  const { model, usage } = trouble;
  const said = `${status} ${text(cause)}`;
  const make = (code: ModelError["code"], retryable: boolean, message: string) =>
    new ModelError(code, shown(`${model} ${message}: ${said}`, trouble), {
      retryable,
      retryAfterMs: retryAfterMs(headers),
      usage,
    });
  // An account without credit is told with 429 too, and waiting does not help.
  if (status === 429 && body.includes("insufficient_quota")) return make("MODEL_REFUSED", false, "has no quota left");
  if (status === 429) return make("MODEL_RATE_LIMITED", true, "is asked too often");
  if (status === 401 || status === 403) return make("MODEL_REFUSED", false, "refuses the key; set one that is valid");
  if (status === 408 || status === 409 || status >= 500) return make("MODEL_UNAVAILABLE", true, "is unavailable");
  return make("MODEL_REFUSED", false, "refuses the request");
}

/** When to ask again, in milliseconds; undefined when the headers do not say. */
function retryAfterMs(headers: Readonly<Record<string, string>>): number | undefined {
  const exact = Number.parseFloat(headers["retry-after-ms"] ?? "");
  if (exact >= 0) return exact;
  const given = headers["retry-after"];
  if (given === undefined) return undefined;
  const seconds = Number(given);
  const ms = Number.isNaN(seconds) ? Date.parse(given) - Date.now() : seconds * 1_000;
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}

/** The parts of an APICallError of the AI SDK, told by its shape: its class would cost the import. */
function responseOf(error: unknown): { status: number | undefined; headers: Record<string, string>; body: string } {
  const call = (error instanceof Error ? error : {}) as {
    readonly statusCode?: number;
    readonly responseHeaders?: Record<string, string>;
    readonly responseBody?: string;
  };
  return { status: call.statusCode, headers: call.responseHeaders ?? {}, body: call.responseBody ?? "" };
}

/** What broke a body that had begun well: the SDK wraps it in an error of the call. */
function unwrapped(error: unknown): unknown {
  const { status } = responseOf(error);
  const isBody = status !== undefined && status >= 200 && status < 300;
  return isBody && error instanceof Error && error.cause instanceof Error ? error.cause : error;
}

function isUnreachable(error: unknown): boolean {
  return error instanceof Error && (error instanceof TypeError || error.name === "AI_APICallError");
}

function isNonsense(error: unknown): boolean {
  return error instanceof Error && error.name.startsWith("AI_");
}

function isEnd(error: unknown): boolean {
  // The only word that the SDK has for it.
  return error instanceof Error && error.message.includes("without a finish reason");
}

function text(error: unknown): string {
  const message = error instanceof Error ? error.message : messageIn(error);
  const line = message.replace(/\s+/g, " ").trim();
  return line.length <= maxMessageLength ? line : `${line.slice(0, maxMessageLength - 1)}…`;
}

/** Errors that come inside a stream are plain JSON. */
function messageIn(error: unknown): string {
  if (typeof error === "object" && error !== null && "message" in error && typeof error.message === "string") {
    return error.message;
  }
  return typeof error === "string" ? error : (JSON.stringify(error) ?? "no reason given");
}

function shown(message: string, { secret }: Troubled): string {
  const masked = secret === "" ? message : message.replaceAll(secret, "***");
  return masked.toWellFormed();
}
