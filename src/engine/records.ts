import type { Value } from "@bufbuild/protobuf/wkt";
import type { CallOptions } from "@connectrpc/connect";
import type { RunError } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, NotJsonError } from "../client/json.ts";
import { HandlerError, refusalOf, runErrorOf, ToolOutcomeUnknownError } from "./handler-error.ts";
import type { Lease } from "./lease.ts";
import type { WorkerLog } from "./log.ts";

/** How the end of something recorded is written. */
export interface Ending {
  succeed(output: Value | undefined, options: CallOptions): Promise<unknown>;
  fail(error: RunError, options: CallOptions): Promise<unknown>;
}

/**
 * What `fn` returns, once that is on record; what it throws, once that is. `what` names the output in errors. Throws a
 * HandlerError that is not retryable for an output that the record does not take.
 */
export async function recordEnd<T>(
  lease: Lease,
  log: WorkerLog,
  what: string,
  ending: Ending,
  fn: () => T | Promise<T>,
): Promise<T> {
  try {
    const output = await fn();
    const value = optionalValue(output, what, "OUTPUT_NOT_SERIALIZABLE");
    await record(lease, (options) => ending.succeed(value, options));
    return output;
  } catch (error) {
    // Left open, it is unknown when the lease ends: the very thing that the handler says.
    const open = error instanceof ToolOutcomeUnknownError;
    if (!open && !lease.signal.aborted) {
      await lease
        .write((options) => ending.fail(runErrorOf(error), options))
        .catch((err: unknown) => log.warn({ err }, "a failure could not be recorded"));
    }
    throw error;
  }
}

/** The answer to a write; what the server refuses becomes the handler's failure. */
export async function record<T>(lease: Lease, call: (options: CallOptions) => Promise<T>): Promise<T> {
  try {
    return await lease.write(call);
  } catch (error) {
    throw error === lease.signal.reason ? error : refusalOf(error);
  }
}

/** The value to send; none for undefined. Throws a HandlerError with `code`, not retryable, for what JSON does not have. */
export function optionalValue(x: unknown, what: string, code: string): Value | undefined {
  if (x === undefined) return undefined;
  try {
    return jsonValue(x, what);
  } catch (error) {
    if (!(error instanceof NotJsonError)) throw error;
    throw new HandlerError(code, error.message, { retryable: false, cause: error });
  }
}
