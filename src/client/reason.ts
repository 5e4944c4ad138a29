import { Code, ConnectError } from "@connectrpc/connect";
import { type ErrorInfo, ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";

/**
 * Why Signalbox refused a call: the name of a value of ErrorReason without its prefix, for example `RUN_NOT_FOUND`.
 * Undefined when the error is not one of Signalbox's: a network failure, an internal error, something else thrown.
 */
export function reasonOf(error: unknown): string | undefined {
  return infoOf(error)?.reason;
}

/** What Signalbox says about an error beside its reason, for example `approval_id`; nothing for an error that is not its. */
export function metadataOf(error: unknown): Readonly<Record<string, string>> {
  return infoOf(error)?.metadata ?? {};
}

function infoOf(error: unknown): ErrorInfo | undefined {
  if (!(error instanceof ConnectError)) return undefined;
  return error.findDetails(ErrorInfoSchema).find(({ domain }) => domain === "signalbox");
}

const transientReasons = new Set(["CONTENTION", "STORE_UNAVAILABLE", "DRAINING", "RATE_LIMITED", "READ_MODEL_BEHIND"]);

/** What a broken connection, a proxy or an internal error of the server looks like. */
const transientCodes = new Set([
  Code.Aborted,
  Code.Canceled,
  Code.DataLoss,
  Code.DeadlineExceeded,
  Code.Internal,
  Code.ResourceExhausted,
  Code.Unavailable,
  Code.Unknown,
]);

/**
 * True when the same call may succeed later: the server is away, draining or overrun, or the connection broke. False for
 * what is no error of a call. Whether a repeat is safe is the method's business; every method of EngineService is.
 */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof ConnectError)) return false;
  const reason = reasonOf(error);
  if (reason !== undefined) return transientReasons.has(reason);
  // An answer that was cut off; Connect gives it various codes.
  if (error.rawMessage.startsWith("protocol error:")) return true;
  return transientCodes.has(error.code) && !isTooLarge(error);
}

/** True when a message was larger than this side, or an unknown server, takes. */
export function isTooLarge(error: ConnectError): boolean {
  return error.code === Code.ResourceExhausted && /(read|write)MaxBytes/.test(error.rawMessage);
}
