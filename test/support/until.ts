import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";

/** What `until` waits for, and how long. */
export interface UntilOptions {
  /** Named in the error, as in "timed out after 10000 ms waiting for the run to succeed". */
  what: string;
  /** Milliseconds before giving up; default 10,000. */
  timeoutMs?: number;
  /** Milliseconds between two looks; default 10. */
  intervalMs?: number;
}

type Falsy = false | 0 | 0n | "" | null | undefined;

/**
 * Looks at `condition` until it is truthy and returns that value. An error thrown by `condition` ends the wait at once.
 * @throws an error naming `what` and the last value seen once the deadline has passed, even when `condition` hangs.
 */
export async function until<T>(condition: () => T | Promise<T>, options: UntilOptions): Promise<Exclude<T, Falsy>> {
  const { what, timeoutMs = 10_000, intervalMs = 10 } = options;
  let last: T | undefined;
  const { promise: expired, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Error(`timed out after ${timeoutMs} ms waiting for ${what}; last seen: ${inspect(last)}`)),
    timeoutMs,
  );
  try {
    for (;;) {
      last = await Promise.race([condition(), expired]);
      if (last) return last as Exclude<T, Falsy>;
      await Promise.race([sleep(intervalMs), expired]);
    }
  } finally {
    clearTimeout(timer);
  }
}
