import type { Command } from "commander";
import {
  bigNumberOption,
  choiceOption,
  costOption,
  countOption,
  durationOption,
  factorOption,
  listOption,
  numberOption,
  settingsOption,
} from "./option-values.ts";

/** What a run may consume, as people type it. 0 takes a limit away. */
export interface BudgetSettings {
  readonly tokens: bigint;
  /** In millionths of the installation's currency. */
  readonly cost: bigint;
  readonly steps: bigint;
  readonly "tool-calls": bigint;
  /** In milliseconds. */
  readonly "active-time": number;
}

/** How failures are repeated, as people type it. */
export interface RetrySettings {
  readonly attempts: number;
  /** In milliseconds. */
  readonly backoff: number;
  readonly multiplier: number;
  /** In milliseconds. */
  readonly "max-backoff": number;
  readonly "on-exhausted": "fail" | "pause";
  /** Codes of errors that end a run at once. */
  readonly fatal: readonly string[];
}

/** What an agent remembers of its session, as people type it. */
export interface MemorySettings {
  readonly history: "on" | "off";
  readonly "compact-after": number;
  readonly "keep-turns": number;
}

const readBudget = settingsOption<BudgetSettings>({
  tokens: bigNumberOption,
  cost: costOption,
  steps: bigNumberOption,
  "tool-calls": bigNumberOption,
  "active-time": durationOption,
});

const readRetry = settingsOption<RetrySettings>({
  attempts: countOption,
  backoff: durationOption,
  multiplier: factorOption,
  "max-backoff": durationOption,
  "on-exhausted": choiceOption(["fail", "pause"]),
  fatal: listOption,
});

const readMemory = settingsOption<MemorySettings>({
  history: choiceOption(["on", "off"]),
  "compact-after": numberOption,
  "keep-turns": numberOption,
});

/** Adds `--budget`. */
export function budgeted(command: Command): Command {
  const example = "tokens=200000,cost=2.50";
  const names = "tokens, cost, steps, tool-calls, active-time";
  return command.option("--budget <limits>", `when a run is paused, such as ${example}; of ${names}`, readBudget);
}

/** Adds `--retry`. */
export function retried(command: Command): Command {
  const example = "attempts=5,on-exhausted=pause";
  const names = "attempts, backoff, multiplier, max-backoff, on-exhausted (fail or pause), fatal (an error's code)";
  return command.option("--retry <policy>", `how failures are repeated, such as ${example}; of ${names}`, readRetry);
}

/** Adds `--memory`. */
export function remembering(command: Command): Command {
  const example = "history=on,compact-after=20000";
  const names = "history (on or off), compact-after (tokens), keep-turns";
  const what = `what it remembers of its session, such as ${example}; of ${names}`;
  return command.option("--memory <policy>", what, readMemory);
}
