import { create } from "@bufbuild/protobuf";
import { type Duration, durationFromMs } from "@bufbuild/protobuf/wkt";
import { type MemoryPolicy, MemoryPolicySchema } from "../../../gen/signalbox/v1/agent_pb.ts";
import {
  type Budget,
  BudgetSchema,
  OnExhausted,
  type RetryPolicy,
  RetryPolicySchema,
} from "../../../gen/signalbox/v1/run_pb.ts";
import { given } from "../given.ts";
import type { BudgetSettings, MemorySettings, RetrySettings } from "../policy-options.ts";

/** The budget with the limits that the settings name; the others stay as they were. */
export function budgetOf(settings: Partial<BudgetSettings>, before = create(BudgetSchema)): Budget {
  const changes = given({
    maxTokens: settings.tokens,
    maxCostMicros: settings.cost,
    maxSteps: settings.steps,
    maxToolCalls: settings["tool-calls"],
    maxActiveTime: durationOf(settings["active-time"]),
  });
  return { ...before, ...changes };
}

const onExhaustedOf = {
  fail: OnExhausted.FAIL,
  pause: OnExhausted.PAUSE,
} as const satisfies Record<RetrySettings["on-exhausted"], OnExhausted>;

/** The retry policy with what the settings name; the rest stays as it was. */
export function retryPolicyOf(settings: Partial<RetrySettings>, before = create(RetryPolicySchema)): RetryPolicy {
  const { "on-exhausted": onExhausted, fatal } = settings;
  const changes = given({
    maxAttempts: settings.attempts,
    initialBackoff: durationOf(settings.backoff),
    backoffMultiplier: settings.multiplier,
    maxBackoff: durationOf(settings["max-backoff"]),
    onExhausted: onExhausted && onExhaustedOf[onExhausted],
    nonRetryableCodes: fatal && [...fatal],
  });
  return { ...before, ...changes };
}

/** The memory policy with what the settings name; the rest stays as it was. */
export function memoryOf(settings: Partial<MemorySettings>, before = create(MemoryPolicySchema)): MemoryPolicy {
  const { history } = settings;
  const changes = given({
    sessionHistory: history && history === "on",
    compactAfterTokens: settings["compact-after"],
    keepTurns: settings["keep-turns"],
  });
  return { ...before, ...changes };
}

/** The duration of so many milliseconds, if any. */
export function durationOf(ms: number | undefined): Duration | undefined {
  return ms === undefined ? undefined : durationFromMs(ms);
}
