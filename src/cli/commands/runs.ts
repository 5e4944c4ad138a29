import type { Command } from "commander";
import type { Act } from "../cli.ts";
import { choicesOption, countOption, durationOption, labelOption } from "../option-values.ts";

/** Statuses of runs as people type them. */
const runStatuses = ["queued", "running", "waiting", "paused", "succeeded", "failed", "canceled"] as const;

/** Options of `run`. */
export interface RunOptions {
  readonly input?: string;
  readonly agent?: string;
  readonly room?: string;
  readonly label?: Record<string, string>;
  readonly queue?: string;
  /** In milliseconds. */
  readonly maxDuration?: number;
  readonly requestId?: string;
  readonly watch?: true;
  readonly wait?: true;
}

/** Options of `runs ls`. */
export interface ListRunsOptions {
  readonly status?: readonly (typeof runStatuses)[number][];
  readonly agent?: string;
  readonly handler?: string;
  readonly room?: string;
  readonly label?: Record<string, string>;
  readonly limit: number;
}

/** Options of `runs cancel`. */
export interface CancelRunOptions {
  readonly reason?: string;
}

/** Options of `runs wait`. */
export interface WaitRunOptions {
  /** In milliseconds. */
  readonly timeout?: number;
}

/** Adds `run` and `runs`. */
export function addRuns(program: Command, act: Act): void {
  addRun(program, act);
  const runs = program.command("runs").description("show runs, wait for them, cancel them");
  addList(runs, act);
  runs
    .command("get <run-id>")
    .description("show a run")
    .addHelpText("after", "\nExamples:\n  $ signalbox runs get run_01J…\n  $ signalbox runs get run_01J… --json")
    .action((runId: string) => act(async (cli) => (await import("../actions/runs.ts")).getRun(cli, runId)));
  runs
    .command("cancel <run-id>")
    .description("end a run at once and fence its worker out")
    .option("--reason <text>", "why, for people")
    .addHelpText("after", '\nExamples:\n  $ signalbox runs cancel run_01J… --reason "wrong input"')
    .action((runId: string, options: CancelRunOptions) =>
      act(async (cli) => (await import("../actions/runs.ts")).cancelRun(cli, runId, options)),
    );
  runs
    .command("wait <run-id>")
    .description("wait until a run has ended and show it")
    .option("--timeout <time>", "how long at most, for example 30s (default: until it ends)", durationOption)
    .addHelpText(
      "after",
      "\nExits with 0 only when the run succeeded.\n\nExamples:\n  $ signalbox runs wait run_01J… --timeout 5m",
    )
    .action((runId: string, options: WaitRunOptions) =>
      act(async (cli) => (await import("../actions/runs.ts")).waitRun(cli, runId, options)),
    );
  runs
    .command("steps <run-id>")
    .description("show the recorded steps of a run")
    .addHelpText("after", "\nExamples:\n  $ signalbox runs steps run_01J…")
    .action((runId: string) => act(async (cli) => (await import("../actions/runs.ts")).listSteps(cli, runId)));
}

function addRun(program: Command, act: Act): void {
  program
    .command("run [handler]")
    .description("start a run of a handler or an agent")
    .option("--input <json>", "the input: JSON, @file, or - for stdin")
    .option("--agent <agent-id>", "the agent to ask, in place of a handler")
    .option("--room <room-id>", "the room whose feed shows the run")
    .option("--label <key=value>", "a label; may be given more than once", labelOption)
    .option("--queue <name>", "the queue that workers claim from")
    .option("--max-duration <time>", "when the run fails if it has not ended, for example 30s", durationOption)
    .option("--request-id <id>", "makes the command repeatable: the same id answers the same run")
    .option("--watch", "show its events until it has ended")
    .option("--wait", "wait until it has ended and show it")
    .addHelpText(
      "after",
      `
With --watch or --wait the command exits with 0 only when the run succeeded.

Examples:
  $ signalbox run echo --input '{"hello":"world"}' --watch
  $ signalbox run steps --input '{"count":3}' --wait --json
  $ signalbox run sleep --input '{"ms":60000}' --max-duration 5s --label team=research
  $ signalbox run --agent agt_01J… --input @question.json --request-id order-17`,
    )
    .action((handler: string | undefined, options: RunOptions) =>
      act(async (cli) => (await import("../actions/run.ts")).run(cli, handler, options)),
    );
}

function addList(runs: Command, act: Act): void {
  runs
    .command("ls")
    .description("list runs, newest first")
    .option("--status <statuses>", `some of ${runStatuses.join(", ")}`, choicesOption(runStatuses))
    .option("--agent <agent-id>", "only runs of this agent")
    .option("--handler <name>", "only runs of this handler")
    .option("--room <room-id>", "only runs of this room")
    .option("--label <key=value>", "only runs with this label; may be given more than once", labelOption)
    .option("--limit <count>", "how many at most", countOption, 50)
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox runs ls --status queued,running
  $ signalbox runs ls --label team=research --limit 10 --json`,
    )
    .action((options: ListRunsOptions) =>
      act(async (cli) => (await import("../actions/runs.ts")).listRuns(cli, options)),
    );
}
