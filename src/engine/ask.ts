import type { CallOptions } from "@connectrpc/connect";
import { HandlerError, refusalOf } from "./handler-error.ts";
import type { Lease } from "./lease.ts";

/**
 * The answer of an idempotent call that a run needs, repeated until it gets through. What the server refuses is thrown as a
 * HandlerError with the server's reason as its code, not retryable; the lease's reason once that is over.
 */
export type Ask = <T>(call: (options: CallOptions) => Promise<T>) => Promise<T>;

/** Asks for as long as a lease holds. */
export function askUnder(lease: Lease): Ask {
  return async (call) => {
    try {
      return await lease.write(call);
    } catch (error) {
      throw error === lease.signal.reason || error instanceof HandlerError ? error : refusalOf(error);
    }
  };
}
