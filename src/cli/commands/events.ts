import type { Command } from "commander";
import type { Act } from "../cli.ts";
import { countOption, listOption, positionOption } from "../option-values.ts";

/** Options that choose events. */
export interface EventOptions {
  readonly run?: string;
  readonly room?: string;
  readonly type?: readonly string[];
  readonly from?: bigint;
}

/** Options of `events tail`. */
export interface TailEventsOptions extends EventOptions {
  readonly deltas?: true;
}

/** Options of `events ls`. */
export interface ListEventsOptions extends EventOptions {
  readonly limit: number;
}

/** Adds `events`. */
export function addEvents(program: Command, act: Act): void {
  const events = program.command("events").description("read the log");
  filtered(events.command("tail"))
    .description("follow the log live")
    .option("--from <position>", "start after this position (default: now; of a run: its beginning)", positionOption)
    .option("--deltas", "show output while it is made as well: a model's words, progress")
    .addHelpText(
      "after",
      `
Survives breaks and restarts of the server without gap or repeat. Ends with Ctrl-C, or when the run has ended.

With --deltas --json, lines of output are objects with \`delta\`. Some of it may be missing; what counts is in the events.

Examples:
  $ signalbox events tail
  $ signalbox events tail --run run_01J… --deltas
  $ signalbox events tail --from 0 --type 'run.*' --json`,
    )
    .action((options: TailEventsOptions) =>
      act(async (cli) => (await import("../actions/events.ts")).tailEvents(cli, options)),
    );
  filtered(events.command("ls").alias("list"))
    .description("list recorded events in order")
    .option("--from <position>", "start after this position (default: the beginning)", positionOption)
    .option("--limit <count>", "how many at most", countOption, 50)
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox events ls --run run_01J…
  $ signalbox events ls --room room_lab --type run.failed,run.canceled --limit 200`,
    )
    .action((options: ListEventsOptions) =>
      act(async (cli) => (await import("../actions/events.ts")).listEvents(cli, options)),
    );
}

function filtered(command: Command): Command {
  return command
    .option("--run <run-id>", "only events of this run")
    .option("--room <room-id>", "only events of this room")
    .option("--type <types>", "only these types, commas between, for example run.succeeded or 'run.*'", listOption);
}
