import type { Command } from "commander";
import { durationOption, labelOption, numberOption } from "../option-values.ts";
import { type BudgetSettings, budgeted, type RetrySettings, retried } from "../policy-options.ts";

/** Options that say what a run is created with. */
export interface RunTemplateOptions {
  /** JSON or a text, @file, or - for stdin. */
  readonly input?: string;
  readonly agent?: string;
  readonly session?: string;
  readonly room?: string;
  readonly label?: Record<string, string>;
  readonly queue?: string;
  readonly priority?: number;
  readonly concurrencyKey?: string;
  /** In milliseconds. */
  readonly maxDuration?: number;
  readonly retry?: Partial<RetrySettings>;
  readonly budget?: Partial<BudgetSettings>;
}

/** Adds the options that say what a run is created with. */
export function templated(command: Command): Command {
  command
    .option("--input <json>", "the input: JSON or a text, @file, or - for stdin")
    .option("--agent <agent-id>", "the agent to ask, in place of a handler")
    .option("--session <id>", "the conversation that the run belongs to: sess_ and letters or digits")
    .option("--room <room-id>", "the room whose feed shows the run")
    .option("--label <key=value>", "a label; may be given more than once", labelOption)
    .option("--queue <name>", "the queue that workers claim from")
    .option("--priority <number>", "which goes first of those that wait in the queue: 9 before 0", numberOption)
    .option("--concurrency-key <text>", "what the queue's --max-running-per-key counts by, for example a customer")
    .option("--max-duration <time>", "when the run fails if it has not ended, for example 30s", durationOption);
  return budgeted(retried(command));
}
