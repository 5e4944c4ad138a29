import type { Clock } from "../kernel/clock.ts";

/** How much somebody has asked for lately. */
export interface Bucket {
  /** How many they may ask for at once. */
  readonly tokens: number;
  /** When that was, in milliseconds. */
  readonly atMs: number;
  /** When a refusal was last reported; undefined for never. */
  readonly reportedMs: number | undefined;
  /** Refusals that were not reported. */
  readonly silent: number;
}

/** Whether somebody may go on. */
export type Verdict =
  | {
      readonly allowed: true;
      /** Refusals before that were not reported: the next line of the access log has them. */
      readonly repeatedCount: number;
    }
  | {
      readonly allowed: false;
      /** How long to wait at least. */
      readonly retryAfterMs: number;
      /** True for the first refusal of a minute; the others are only counted. */
      readonly reported: boolean;
      /** As above; 0 unless it is reported. */
      readonly repeatedCount: number;
    };

const windowMs = 60_000;

/** Takes one of `perMinute` tokens a minute; as many may be taken at once. Pure. */
export function takeToken(
  before: Bucket | undefined,
  nowMs: number,
  perMinute: number,
): { readonly bucket: Bucket; readonly verdict: Verdict } {
  const { tokens: left, atMs, reportedMs, silent } = before ?? newBucket(nowMs, perMinute);
  // A clock that was set back gives nothing, and takes nothing.
  const tokens = Math.min(perMinute, left + (Math.max(0, nowMs - atMs) * perMinute) / windowMs);
  if (tokens >= 1) {
    const bucket = { tokens: tokens - 1, atMs: nowMs, reportedMs, silent: 0 };
    return { bucket, verdict: { allowed: true, repeatedCount: silent } };
  }
  const retryAfterMs = Math.ceil(((1 - tokens) * windowMs) / perMinute);
  const reported = reportedMs === undefined || Math.abs(nowMs - reportedMs) >= windowMs;
  return {
    bucket: {
      tokens,
      atMs: nowMs,
      reportedMs: reported ? nowMs : reportedMs,
      silent: reported ? 0 : silent + 1,
    },
    verdict: { allowed: false, retryAfterMs, reported, repeatedCount: reported ? silent : 0 },
  };
}

/** A limit of its own for each key, kept in this process. */
export interface RateLimit {
  /** Takes one token of the key's. */
  take(key: string): Verdict;
}

/** What a rate limit needs. */
export interface RateLimitDeps {
  readonly clock: Clock;
  /** How often each key may ask in a minute, and at once. Default 600. */
  readonly perMinute?: number;
  /** Keys that are remembered; who asked longest ago is forgotten first, with a full bucket and nothing to report. Default 100,000. */
  readonly maxKeys?: number;
}

/** A rate limit with nobody in it. */
export function createRateLimit({ clock, perMinute = 600, maxKeys = 100_000 }: RateLimitDeps): RateLimit {
  // A Map iterates in order of insertion: the first entry asked longest ago.
  const buckets = new Map<string, Bucket>();
  return {
    take(key) {
      const { bucket, verdict } = takeToken(buckets.get(key), clock.now().getTime(), perMinute);
      buckets.delete(key);
      buckets.set(key, bucket);
      if (buckets.size > maxKeys) for (const [oldest] of buckets.entries().take(1)) buckets.delete(oldest);
      return verdict;
    },
  };
}

function newBucket(atMs: number, tokens: number): Bucket {
  return { tokens, atMs, reportedMs: undefined, silent: 0 };
}
