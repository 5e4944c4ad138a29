import { createBackoff, pause } from "./backoff.ts";
import { isTransient, metadataOf } from "./reason.ts";

/** How a call is repeated. */
export interface RepeatOptions {
  /** Ends the repeats; the call throws by itself what it throws then. */
  readonly signal?: AbortSignal | undefined;
  /** Told of every failure that is tried again, and after how many milliseconds. */
  readonly onRetry?: ((error: unknown, delayMs: number) => void) | undefined;
}

/** Failures one after the other until what is asked for is given up: 20 s and more. */
const maxFailures = 8;

/** Decides after failures whether to try again. */
export interface Patience {
  /** Resolves when it is time to try again; throws the error when that does not pass by itself, or too often. */
  after(error: unknown): Promise<void>;
  /** Something was achieved: failures count from one again. */
  reset(): void;
}

/** Patience with the server for what is safe to repeat. */
export function createPatience({ signal, onRetry }: RepeatOptions): Patience {
  const backoff = createBackoff(200, 5_000);
  let failures = 0;
  return {
    async after(error) {
      failures++;
      if (signal?.aborted === true || failures >= maxFailures || !isTransient(error)) throw error;
      const delayMs = Math.max(backoff.next(), Number(metadataOf(error)["retry_after_ms"] ?? 0));
      onRetry?.(error, delayMs);
      await pause(delayMs, signal);
    },
    reset() {
      failures = 0;
      backoff.reset();
    },
  };
}

/** The answer of a call that is safe to repeat, asked for again while the server is away. Throws what does not pass by itself. */
export async function repeated<T>(ask: () => Promise<T>, options: RepeatOptions): Promise<T> {
  const patience = createPatience(options);
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      await patience.after(error);
    }
  }
}
