import { sleep } from "./wait.ts";

/** How often and how fast to try again. */
export interface RetryPolicy {
  /** Tries in all, at least 1. */
  readonly attempts: number;
  /** Pause after the first failure, in milliseconds; doubled after each further one. */
  readonly initialDelayMs: number;
  /** The longest pause, in milliseconds. */
  readonly maxDelayMs: number;
  /** Which errors may pass by themselves; others are thrown at once. */
  readonly retryable: (error: unknown) => boolean;
  /** Ends the pauses early: the last error is thrown. */
  readonly signal?: AbortSignal;
}

/** The first result of `fn` that is not an error, trying again as the policy says; else the last error. */
export async function retry<T>(policy: RetryPolicy, fn: () => Promise<T>): Promise<T> {
  let delayMs = policy.initialDelayMs;
  for (let attempt = 1; ; attempt++) {
    try {
      return await fn();
    } catch (error) {
      if (attempt >= policy.attempts || policy.signal?.aborted || !policy.retryable(error)) throw error;
    }
    await sleep(delayMs, policy.signal);
    delayMs = Math.min(delayMs * 2, policy.maxDelayMs);
  }
}
