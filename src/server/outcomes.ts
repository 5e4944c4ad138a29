import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Logger } from "pino";
import { hasReason, toConnectError } from "../kernel/errors.ts";
import { isHangUp } from "./hang-up.ts";
import type { CallMetrics } from "./metrics.ts";
import { explainProtocolError } from "./protocol-errors.ts";

/** How far a call has come, so that an error is counted and logged in one place only. */
export interface Progress {
  /** `package.Service/Method`. */
  readonly method: string;
  readonly correlationId: string;
  readonly startMs: number;
  /** Its handler was asked. */
  reached: boolean;
  /** What its handler was answered with, when it failed. */
  error: ConnectError | undefined;
}

/** A call that begins now. */
export function beginProgress(method: DescMethod, correlationId: string): Progress {
  return {
    method: `${method.parent.typeName}/${method.name}`,
    correlationId,
    startMs: performance.now(),
    reached: false,
    error: undefined,
  };
}

/** What becomes of calls: the error a client may see, the figures, the log. */
export interface Outcomes {
  /** The answer to what a handler threw. `signal` is the call's. */
  failed(progress: Progress, error: unknown, signal: AbortSignal): ConnectError;
  /** Connect ended the call itself, before its handler was asked or after it had answered. */
  failedOutside(progress: Progress, reason: unknown): void;
  /** A unary call has ended; no code for success. */
  unaryEnded(progress: Progress, code: Code | undefined): void;
  streamOpened(progress: Progress): void;
  /** A stream has ended; no code for success. */
  streamEnded(progress: Progress, code: Code | undefined): void;
}

/** Creates the one place where the outcome of a call is measured and logged. */
export function createOutcomes(metrics: CallMetrics, log: Logger): Outcomes {
  function logUnexpected(progress: Progress, error: unknown): void {
    const code = codeOf(error);
    const err: unknown = error instanceof ConnectError ? (error.cause ?? error) : error;
    const fields = { err, method: progress.method, correlation_id: progress.correlationId };
    // What the store said is not for the client, so it has to be somewhere else.
    if (hasReason(err, "STORE_UNAVAILABLE")) log.warn(fields, "store not available");
    if (code !== Code.Internal && code !== Code.Unknown && code !== Code.DataLoss) return;
    log.error(fields, "call failed unexpectedly");
  }

  function logEnded(progress: Progress, code: Code | undefined): void {
    if (!log.isLevelEnabled("debug")) return;
    const { method, correlationId, startMs } = progress;
    const answer = code === undefined ? "ok" : Code[code];
    log.debug(
      { method, code: answer, duration_ms: performance.now() - startMs, correlation_id: correlationId },
      "call ended",
    );
  }

  return {
    failed(progress, error, signal) {
      const answer = answerTo(error, signal);
      explainProtocolError(answer);
      progress.error = answer;
      logUnexpected(progress, answer);
      return answer;
    },
    failedOutside(progress, reason) {
      // Without a failure Connect aborts without a reason, which makes it an AbortError.
      if (reason === progress.error || isAbortError(reason) || isHangUp(reason)) return;
      if (reason instanceof ConnectError) explainProtocolError(reason);
      if (!progress.reached) metrics.refused(progress.method, codeOf(reason));
      logUnexpected(progress, reason);
    },
    unaryEnded(progress, code) {
      metrics.unaryEnded(progress.method, code, (performance.now() - progress.startMs) / 1000);
      logEnded(progress, code);
    },
    streamOpened: (progress) => metrics.streamOpened(progress.method),
    streamEnded(progress, code) {
      metrics.streamEnded(progress.method, code);
      logEnded(progress, code);
    },
  };
}

/** A handler that stops because its signal aborted ends with the signal's reason: the deadline, the drain, or CANCELED. */
function answerTo(error: unknown, signal: AbortSignal): ConnectError {
  if (signal.aborted && isAbortError(error)) return ConnectError.from(signal.reason, Code.Canceled);
  return toConnectError(error);
}

function isAbortError(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}

function codeOf(error: unknown): Code {
  return error instanceof ConnectError ? error.code : Code.Internal;
}
