import { percentile } from "./statistics.ts";

/** What a load came to. */
export interface Load {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** How hard and how long to press. */
export interface LoadShape {
  /** Operations under way at the same time. Each begins when one before it has ended: a closed loop. */
  readonly concurrency: number;
  readonly ms: number;
}

/**
 * Repeats `operation` until the time is up and the last ones have ended. `slot`, 0 … concurrency-1, is never under way twice
 * at a time. The first error ends it.
 */
export async function press(
  { concurrency, ms }: LoadShape,
  operation: (slot: number) => Promise<unknown>,
): Promise<Load> {
  const latencies: number[] = [];
  const startedAt = performance.now();
  async function repeat(slot: number): Promise<void> {
    while (performance.now() - startedAt < ms) {
      const begunAt = performance.now();
      await operation(slot);
      latencies.push(performance.now() - begunAt);
    }
  }
  await Promise.all(Array.from({ length: concurrency }, (_, slot) => repeat(slot)));
  return summarize(latencies, performance.now() - startedAt);
}

/** The load that these operations were, done within `ms`. */
export function summarize(latencies: readonly number[], ms: number): Load {
  return {
    perSecond: (latencies.length / ms) * 1000,
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
  };
}

/** Calls `operation` with 0 … count-1, so many at a time. The first error ends it. */
export async function inParallel(
  count: number,
  concurrency: number,
  operation: (index: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  async function repeat(): Promise<void> {
    while (next < count) await operation(next++);
  }
  await Promise.all(Array.from({ length: concurrency }, repeat));
}
