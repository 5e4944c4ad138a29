import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Queue } from "../../gen/signalbox/v1/queue_pb.ts";

/** What limits the runs of a queue. */
export interface QueueLimits {
  /** No run begins. */
  readonly held: boolean;
  /** Runs under way at the same time, 0 for no limit. */
  readonly maxRunning: number;
  /** The same of those that share a concurrency key. */
  readonly maxRunningPerKey: number;
  /** How many runs may begin in which time. */
  readonly rate: { readonly runs: number; readonly periodMs: number } | undefined;
}

/** What a queue's settings limit; undefined when that is nothing. */
export function limitsOf({ held, maxRunning, maxRunningPerKey, rateLimit }: Queue): QueueLimits | undefined {
  if (!held && maxRunning === 0 && maxRunningPerKey === 0 && rateLimit === undefined) return undefined;
  const periodMs = rateLimit?.period ? durationMs(rateLimit.period) : 0;
  return { held, maxRunning, maxRunningPerKey, rate: rateLimit && { runs: rateLimit.runs, periodMs } };
}
