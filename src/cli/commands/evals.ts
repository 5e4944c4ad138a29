import type { Command } from "commander";
import type { Act } from "../cli.ts";
import { countOption, durationOption, listOption, shareOption } from "../option-values.ts";

/** Options of `eval run`. */
export interface RunEvalOptions {
  readonly agent?: string;
  readonly handler?: string;
  /** Runs that have ended, as `case=run`. */
  readonly recorded?: readonly string[];
  readonly model?: string;
  /** The text, or @file, or - for stdin. */
  readonly instructions?: string;
  readonly repeats?: number;
  readonly parallel?: number;
  readonly baseline?: string;
  readonly minPassRate?: number;
  readonly confidence?: number;
  readonly maxRegression?: number;
  readonly minRepeats?: number;
  readonly queue?: string;
  readonly room?: string;
  /** In milliseconds. */
  readonly maxDuration?: number;
  readonly requestId?: string;
  /** Where the JUnit file goes. */
  readonly junit?: string;
}

/** Options of `eval put`. */
export interface PutSuiteOptions {
  readonly check?: true;
}

/** Options of `eval list`. */
export interface ListEvalsOptions {
  /** Lists the evaluations of a suite in place of the suites. */
  readonly suite?: string;
  readonly limit: number;
}

const verdictHelp = `
Exit codes of a verdict: 0 PASS, 1 FAIL, 2 INCONCLUSIVE. Everything else ends as in all commands.`;

/** Adds `eval`. */
export function addEvals(program: Command, act: Act): void {
  const evals = program.command("eval").description("hold agents against suites of cases, and gate what changes");
  addRunning(evals, act);
  addKeeping(evals, act);
}

function addRunning(evals: Command, act: Act): void {
  const run = evals
    .command("run <suite>")
    .description(
      "evaluate an agent or a handler: a suite is named by its id or name, or by a .json file, which is put first",
    )
    .option("--agent <agent-id>", "the agent to evaluate")
    .option("--handler <name>", "the handler to evaluate, without an agent")
    .option(
      "--recorded <case=run-id>",
      "a run that has ended, taken for a trial; more with commas, or given again",
      listOption,
    )
    .option("--model <model>", "evaluate the agent with this model in place of its own")
    .option("--instructions <text>", "evaluate the agent with these instructions: a text, @file, or - for stdin")
    .option("--repeats <count>", "how many trials each case gets (default: 5)", countOption)
    .option("--parallel <count>", "how many trials at the same time (default: 8)", countOption);
  thresholds(run)
    .option("--queue <name>", "the queue of the runs that are evaluated")
    .option("--room <room-id>", "the room whose feed shows it")
    .option("--max-duration <time>", "when the evaluation fails if it has not ended, for example 30m", durationOption)
    .option("--request-id <id>", "makes the command repeatable: the same id answers the same evaluation")
    .option("--junit <file>", "write the result for CI as JUnit XML")
    .addHelpText(
      "after",
      `${verdictHelp}

Examples:
  $ signalbox eval run signals.json --agent agt_01J… --repeats 10 --junit report.xml
  $ signalbox eval run signals --agent agt_01J… --instructions @next.md --baseline run_01J…
  $ signalbox eval run signals --recorded distant/caution=run_01J… --min-repeats 1`,
    )
    .action((suite: string, options: RunEvalOptions) =>
      act(async (cli) => (await import("../actions/evals.ts")).runEval(cli, suite, options)),
    );
}

function thresholds(command: Command): Command {
  return command
    .option("--baseline <evaluation-id>", "the evaluation that this one must not fall behind")
    .option("--min-pass-rate <share>", "the share of trials that must pass, 0 to 1", shareOption)
    .option("--confidence <share>", "how sure a verdict has to be, 0 to 0.999; 0 goes by what was seen", shareOption)
    .option("--max-regression <share>", "how much lower than the baseline's the pass rate may be", shareOption)
    .option("--min-repeats <count>", "how many trials each case must have", countOption);
}

function addKeeping(evals: Command, act: Act): void {
  evals
    .command("put <file>")
    .description("make a suite, or a new version of it, from a file of JSON, or - for stdin")
    .option("--check", "only check it, and change nothing")
    .addHelpText(
      "after",
      "\nExamples:\n  $ signalbox eval put signals.json\n  $ signalbox eval put signals.json --check",
    )
    .action((file: string, options: PutSuiteOptions) =>
      act(async (cli) => (await import("../actions/suites.ts")).putSuite(cli, file, options)),
    );
  evals
    .command("list")
    .alias("ls")
    .description("list suites, or the evaluations of one, newest first")
    .option("--suite <suite>", "the suite, by id or name, whose evaluations to list")
    .option("--limit <count>", "how many at most", countOption, 50)
    .addHelpText("after", "\nExamples:\n  $ signalbox eval list\n  $ signalbox eval list --suite signals")
    .action((options: ListEvalsOptions) =>
      act(async (cli) => (await import("../actions/suites.ts")).listEvals(cli, options)),
    );
  evals
    .command("show <what>")
    .description("show an evaluation, by its id, or a suite, by its id or name")
    .addHelpText(
      "after",
      `${verdictHelp}\n\nExamples:\n  $ signalbox eval show run_01J…\n  $ signalbox eval show signals --json`,
    )
    .action((what: string) => act(async (cli) => (await import("../actions/evals.ts")).showEval(cli, what)));
  evals
    .command("archive <suite>")
    .description("take a suite out of use, by its id or name; putting it again brings it back")
    .addHelpText("after", "\nExamples:\n  $ signalbox eval archive signals")
    .action((suite: string) => act(async (cli) => (await import("../actions/suites.ts")).archiveSuite(cli, suite)));
}
