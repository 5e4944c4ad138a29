import type { Command } from "commander";
import type { Act } from "../cli.ts";
import { positionOption } from "../option-values.ts";
import { type BudgetSettings, budgeted } from "../policy-options.ts";

/** Options of commands that tell people why. */
export interface NoteOptions {
  readonly note?: string;
}

/** Options of `runs resume`. */
export interface ResumeRunOptions extends NoteOptions {
  readonly budget?: Partial<BudgetSettings>;
}

/** Options of `runs fork`. */
export interface ForkRunOptions {
  readonly position?: bigint;
  /** JSON or a text, @file, or - for stdin. */
  readonly input?: string;
  readonly requestId?: string;
}

/** Options of `runs send`. */
export interface SendMessageOptions {
  readonly thread?: string;
  readonly requestId?: string;
}

const noteOption = ["--note <text>", "why, for people"] as const;

/** Adds what changes the course of a run: `pause`, `resume`, `retry`, `fork` and `send`. */
export function addSteering(runs: Command, act: Act): void {
  addPausing(runs, act);
  addRepeating(runs, act);
  addSending(runs, act);
}

function addPausing(runs: Command, act: Act): void {
  runs
    .command("pause <run-id>")
    .description("stop a run until it is resumed; a running one first ends what is under way")
    .option(...noteOption)
    .addHelpText("after", '\nExamples:\n  $ signalbox runs pause run_01J… --note "the index is being rebuilt"')
    .action((runId: string, options: NoteOptions) =>
      act(async (cli) => (await import("../actions/steering.ts")).pauseRun(cli, runId, options)),
    );
  budgeted(runs.command("resume <run-id>"))
    .description("let a paused run go on, its failed attempts forgiven")
    .option(...noteOption)
    .addHelpText(
      "after",
      `
Limits of the budget that are not named stay as they are; 0 takes a limit away. Cost is in the installation's currency.

Examples:
  $ signalbox runs resume run_01J…
  $ signalbox runs resume run_01J… --budget tokens=400000,cost=5 --note "worth it"`,
    )
    .action((runId: string, options: ResumeRunOptions) =>
      act(async (cli) => (await import("../actions/steering.ts")).resumeRun(cli, runId, options)),
    );
}

function addRepeating(runs: Command, act: Act): void {
  runs
    .command("retry <run-id>")
    .description("try a failed or canceled run again: a new run that does nothing twice")
    .option(...noteOption)
    .addHelpText(
      "after",
      `
Prints the id of the new run; the same command again prints the same. A paused run is resumed.

Examples:
  $ signalbox runs retry run_01J…
  $ signalbox runs wait $(signalbox runs retry run_01J…)`,
    )
    .action((runId: string, options: NoteOptions) =>
      act(async (cli) => (await import("../actions/steering.ts")).retryRun(cli, runId, options)),
    );
  runs
    .command("fork <run-id>")
    .description("start a new run from the record of another one")
    .option("--position <position>", "reuse the record up to here (default: all of it)", positionOption)
    .option("--input <json>", "another input: JSON or a text, @file, or - for stdin")
    .option("--request-id <id>", "makes the command repeatable: the same id answers the same run")
    .addHelpText(
      "after",
      `
Prints the id of the new run. \`signalbox events ls --run\` shows the positions of a run's record.

Examples:
  $ signalbox runs fork run_01J…
  $ signalbox runs fork run_01J… --position 4711 --input '{"depth":3}'`,
    )
    .action((runId: string, options: ForkRunOptions) =>
      act(async (cli) => (await import("../actions/steering.ts")).forkRun(cli, runId, options)),
    );
}

function addSending(runs: Command, act: Act): void {
  runs
    .command("send <run-id> <message>")
    .description("say something to a run: JSON or a text, @file, or - for stdin")
    .option("--thread <thread-id>", "the thread that it comes from: th_ and letters or digits")
    .option("--request-id <id>", "makes the command repeatable: the same id is said once")
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox runs send run_01J… "go on"
  $ signalbox runs send run_01J… '{"approved":true}' --thread th_review --request-id answer-1`,
    )
    .action((runId: string, message: string, options: SendMessageOptions) =>
      act(async (cli) => (await import("../actions/steering.ts")).sendMessage(cli, runId, message, options)),
    );
}
