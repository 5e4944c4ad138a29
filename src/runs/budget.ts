import { durationMs, type Timestamp, timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import type { Budget, Run } from "../../gen/signalbox/v1/run_pb.ts";
import { SignalboxError } from "../kernel/errors.ts";

/**
 * The first limit of a budget, the run's own by default, that the run has reached, by the name of its field, for example
 * `max_tokens`; undefined while there is something left. Pure.
 */
export function usedUpLimit(run: Run, now: Date, budget: Budget | undefined = run.budget): string | undefined {
  if (budget === undefined) return undefined;
  const { usage } = run;
  const reached = (limit: bigint, used = 0n) => limit > 0n && used >= limit;
  if (reached(budget.maxTokens, (usage?.inputTokens ?? 0n) + (usage?.outputTokens ?? 0n))) return "max_tokens";
  if (reached(budget.maxCostMicros, usage?.costMicros)) return "max_cost_micros";
  if (reached(budget.maxSteps, usage?.steps)) return "max_steps";
  if (reached(budget.maxToolCalls, usage?.toolCalls)) return "max_tool_calls";
  const maxActiveMs = budget.maxActiveTime ? durationMs(budget.maxActiveTime) : 0;
  return maxActiveMs > 0 && activeMs(run, timestampFromDate(now)) >= maxActiveMs ? "max_active_time" : undefined;
}

/** BUDGET_EXCEEDED when the run has reached a limit of its budget. */
export function requireBudget(run: Run, now: Date): void {
  const limit = usedUpLimit(run, now);
  if (limit === undefined) return;
  throw new SignalboxError(
    "BUDGET_EXCEEDED",
    `run ${run.runId} has used up its budget (${limit}); end what is under way and call ReleaseRun, which pauses it`,
    { limit },
  );
}

/** How long workers have held the run up to a time, in milliseconds; a clock that stands behind adds nothing. Pure. */
export function activeMs({ activeTime, claimTime }: Run, now: Timestamp | undefined): number {
  const presentMs = claimTime && now ? Math.max(timestampMs(now) - timestampMs(claimTime), 0) : 0;
  return (activeTime ? durationMs(activeTime) : 0) + presentMs;
}
