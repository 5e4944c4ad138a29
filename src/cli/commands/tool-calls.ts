import type { Command } from "commander";
import type { Act } from "../cli.ts";
import { choicesOption, countOption } from "../option-values.ts";

const toolCallStatuses = [
  "requested",
  "gated",
  "started",
  "succeeded",
  "failed",
  "denied",
  "unknown",
  "reconciled",
] as const;

/** Options of `tool-calls ls`. */
export interface ListToolCallsOptions {
  readonly run?: string;
  readonly status?: readonly (typeof toolCallStatuses)[number][];
  readonly limit: number;
}

/** Options of `tool-calls reconcile`. */
export interface ReconcileOptions {
  readonly run: string;
  readonly note: string;
  /** JSON or a text, @file, or - for stdin; false for a call that had not taken effect. */
  readonly result?: string | false;
}

/** Adds `tool-calls`. */
export function addToolCalls(program: Command, act: Act): void {
  const toolCalls = program.command("tool-calls").description("show what tools were called, and say how it went");
  toolCalls
    .command("ls")
    .alias("list")
    .description("list tool calls, in order of their start")
    .option("--run <run-id>", "only calls of this run")
    .option("--status <statuses>", `some of ${toolCallStatuses.join(", ")}`, choicesOption(toolCallStatuses))
    .option("--limit <count>", "how many at most", countOption, 50)
    .addHelpText(
      "after",
      `
With the status unknown it is the inbox of what has to be looked up.

Examples:
  $ signalbox tool-calls ls --status unknown
  $ signalbox tool-calls ls --run run_01J…`,
    )
    .action((options: ListToolCallsOptions) =>
      act(async (cli) => (await import("../actions/tool-calls.ts")).listToolCalls(cli, options)),
    );
  toolCalls
    .command("reconcile <tool-call-id>")
    .description("say what became of a call of which nobody knows whether it took effect")
    .requiredOption("--run <run-id>", "the run that made it")
    .requiredOption("--note <text>", "how that is known, for people")
    .option("--result <json>", "it took effect, with this result: JSON or a text, @file, or - for stdin")
    .option("--no-result", "it did not take effect")
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox tool-calls reconcile tc_01J… --run run_01J… --result '{"transfer":7}' --note "it is in the bank's list"
  $ signalbox tool-calls reconcile tc_01J… --run run_01J… --no-result --note "the bank knows nothing of it"`,
    )
    .action((toolCallId: string, options: ReconcileOptions) =>
      act(async (cli) => (await import("../actions/tool-calls.ts")).reconcile(cli, toolCallId, options)),
    );
}
