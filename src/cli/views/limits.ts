import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";
import type { AgentLimits, MemoryPolicy } from "../../../gen/signalbox/v1/agent_pb.ts";
import { type Budget, OnExhausted, type RetryPolicy } from "../../../gen/signalbox/v1/run_pb.ts";
import { durationText } from "./values.ts";

/** What a budget limits; empty when it limits nothing. */
export function budgetText(budget: Budget | undefined): string {
  if (budget === undefined) return "";
  const { maxTokens, maxCostMicros, maxSteps, maxToolCalls, maxActiveTime } = budget;
  return listed([
    count(maxTokens, "tokens"),
    maxCostMicros > 0n && `cost ${costText(maxCostMicros)}`,
    count(maxSteps, "steps"),
    count(maxToolCalls, "tool calls"),
    isPositive(maxActiveTime) && `${spanText(maxActiveTime)} with workers`,
  ]);
}

/** How failures are repeated, as far as the policy says so; empty when it does not. */
export function retryPolicyText(policy: RetryPolicy | undefined): string {
  if (policy === undefined) return "";
  const { maxAttempts, initialBackoff, maxBackoff, backoffMultiplier, nonRetryableCodes, onExhausted } = policy;
  return listed([
    count(maxAttempts, "attempts"),
    initialBackoff && `from ${spanText(initialBackoff)}`,
    backoffMultiplier > 0 && `times ${backoffMultiplier}`,
    maxBackoff && `up to ${spanText(maxBackoff)}`,
    nonRetryableCodes.length > 0 && `not after ${nonRetryableCodes.join(", ")}`,
    onExhausted === OnExhausted.PAUSE && "then paused",
  ]);
}

/** The limits of an agent but for its budget and retry policy; empty when it has none. */
export function limitsText(limits: AgentLimits | undefined): string {
  if (limits === undefined) return "";
  const { maxDuration, maxRunning, maxTurns } = limits;
  return listed([
    maxDuration && `${spanText(maxDuration)} a run`,
    maxRunning > 0 && `${maxRunning} runs under way`,
    count(maxTurns, "turns"),
  ]);
}

/** What an agent remembers of its session; empty when that was never said. */
export function memoryText(memory: MemoryPolicy | undefined): string {
  if (memory === undefined) return "";
  const { sessionHistory, compactAfterTokens, keepTurns } = memory;
  return listed([
    sessionHistory ? "the session's history" : "nothing",
    sessionHistory && compactAfterTokens > 0 && `summarised after ${compactAfterTokens} tokens`,
    sessionHistory && keepTurns > 0 && `but for the newest ${keepTurns} turns`,
  ]);
}

/** Millionths of the installation's currency as `2.5`. */
export function costText(micros: bigint): string {
  return String(Number(micros) / 1_000_000);
}

/** A duration for people. */
export function spanText(duration: Duration): string {
  return durationText(durationMs(duration));
}

/** True for a duration that is set and more than nothing. */
export function isPositive(duration: Duration | undefined): duration is Duration {
  return duration !== undefined && durationMs(duration) > 0;
}

function count(number: bigint | number, what: string): string | false {
  return number > 0 && `${number} ${what}`;
}

function listed(parts: readonly (string | false | undefined)[]): string {
  return parts.filter((part) => typeof part === "string").join(", ");
}
