import { Code, ConnectError } from "@connectrpc/connect";
import { SignalboxError, toConnectError } from "../kernel/errors.ts";

/** What is put up with of a body of one message, which is kept in memory until all of it is there. */
export interface BodyLimits {
  /** Infinity for what the server takes of everybody. */
  readonly maxBytes: number;
  /** How long it may take to arrive. */
  readonly timeoutMs: number;
}

/**
 * The same bytes, as long as they keep to the limits; PAYLOAD_TOO_LARGE or INVALID_REQUEST from there on. HTTP/2 has no time limit
 * of its own, and thousands of bodies that never end would take all memory.
 */
export async function* boundedBody(
  body: AsyncIterable<Uint8Array>,
  { maxBytes, timeoutMs }: BodyLimits,
): AsyncGenerator<Uint8Array, void, void> {
  const late = Promise.withResolvers<never>();
  late.promise.catch(() => {});
  const timer = setTimeout(() => late.reject(tooSlow(timeoutMs)), timeoutMs);
  const source = body[Symbol.asyncIterator]();
  let sizeBytes = 0;
  let isWaiting = false;
  try {
    for (;;) {
      isWaiting = true;
      const next = await Promise.race([source.next(), late.promise]);
      isWaiting = false;
      if (next.done === true) {
        // In Connect's words, which protocol-errors.ts explains.
        if (sizeBytes > maxBytes)
          throw new ConnectError(`message is larger than readMaxBytes ${maxBytes}`, Code.ResourceExhausted);
        return;
      }
      sizeBytes += next.value.length;
      // What is too much is read and dropped: a body of HTTP/1.1 that is left in the middle holds up the next request behind it.
      if (sizeBytes <= maxBytes) yield next.value;
    }
  } finally {
    clearTimeout(timer);
    const closing = source.return?.();
    // A generator that waits for more ends after that only.
    if (isWaiting) closing?.catch(() => {});
    else await closing;
  }
}

function tooSlow(timeoutMs: number): ConnectError {
  const message = `the request's body did not arrive within ${timeoutMs / 1_000} s; send it in smaller parts`;
  return toConnectError(new SignalboxError("INVALID_REQUEST", message));
}
