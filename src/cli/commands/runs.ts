import type { Command } from "commander";
import type { Act } from "../cli.ts";
import { choicesOption, countOption, durationOption, labelOption } from "../option-values.ts";
import { type RunTemplateOptions, templated } from "./run-template.ts";
import { addSteering } from "./steering.ts";

/** Statuses of runs as people type them. */
const runStatuses = ["queued", "running", "waiting", "paused", "succeeded", "failed", "canceled"] as const;
/** Reasons why runs ended as people type them. */
const endReasons = [
  "completed",
  "handler_failed",
  "attempts_exhausted",
  "deadline_exceeded",
  "canceled",
  "policy_denied",
] as const;

/** Options of `run`. */
export interface RunOptions extends RunTemplateOptions {
  readonly preset?: string;
  readonly requestId?: string;
  readonly watch?: true;
  readonly wait?: true;
}

/** Options of `runs ls`. */
export interface ListRunsOptions {
  readonly status?: readonly (typeof runStatuses)[number][];
  readonly endReason?: readonly (typeof endReasons)[number][];
  /** The same as the end reason `attempts_exhausted`. */
  readonly dead?: true;
  readonly agent?: string;
  readonly handler?: string;
  readonly queue?: string;
  readonly session?: string;
  readonly parent?: string;
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
  const runs = program.command("runs").description("show runs, wait for them, steer them");
  addList(runs, act);
  addSteering(runs, act);
  runs
    .command("get <run-id>")
    .alias("show")
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
  templated(program.command("run [handler]"))
    .description("start a run of a handler or an agent")
    .option("--preset <name>", "the newest agent of this preset, for example assistant_basic")
    .option("--request-id <id>", "makes the command repeatable: the same id answers the same run")
    .option("--watch", "show its events, or an agent's words as they come, until it has ended")
    .option("--wait", "wait until it has ended and show it")
    .addHelpText(
      "after",
      `
With --watch or --wait the command exits with 0 only when the run succeeded.

Examples:
  $ signalbox run echo --input '{"hello":"world"}' --watch
  $ signalbox run --preset assistant_basic --input "What is a run?" --watch
  $ signalbox run steps --input '{"count":3}' --wait --json
  $ signalbox run sleep --input '{"ms":60000}' --max-duration 5s --label team=research
  $ signalbox run --agent agt_01J… --input @question.json --request-id order-17
  $ signalbox run research --budget tokens=200000,cost=2.50 --retry attempts=5,on-exhausted=pause`,
    )
    .action((handler: string | undefined, options: RunOptions) =>
      act(async (cli) => (await import("../actions/run.ts")).run(cli, handler, options)),
    );
}

function addList(runs: Command, act: Act): void {
  runs
    .command("ls")
    .alias("list")
    .description("list runs, newest first")
    .option("--status <statuses>", `some of ${runStatuses.join(", ")}`, choicesOption(runStatuses))
    .option("--end-reason <reasons>", `some of ${endReasons.join(", ")}`, choicesOption(endReasons))
    .option("--dead", "only runs whose attempts were used up: --end-reason attempts_exhausted")
    .option("--agent <agent-id>", "only runs of this agent")
    .option("--handler <name>", "only runs of this handler")
    .option("--queue <name>", "only runs of this queue")
    .option("--session <id>", "only runs of this session")
    .option("--parent <run-id>", "only children of this run")
    .option("--room <room-id>", "only runs of this room")
    .option("--label <key=value>", "only runs with this label; may be given more than once", labelOption)
    .option("--limit <count>", "how many at most", countOption, 50)
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox runs ls --status waiting,paused
  $ signalbox runs ls --dead --queue mail
  $ signalbox runs ls --label team=research --limit 10 --json`,
    )
    .action((options: ListRunsOptions) =>
      act(async (cli) => (await import("../actions/runs.ts")).listRuns(cli, options)),
    );
}
