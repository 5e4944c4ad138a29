import type { Command } from "commander";
import type { Act } from "../cli.ts";
import { countOption } from "../option-values.ts";

/** Options of `board`. */
export interface BoardOptions {
  readonly room?: string;
  readonly limit: number;
  readonly watch?: true;
}

/** Adds `board`. */
export function addBoard(program: Command, act: Act): void {
  program
    .command("board")
    .description("show all work at once: inbox, queued, running, needs decision, done, failed")
    .option("--room <room-id>", "only runs of this room")
    .option("--limit <count>", "how many runs of each stage at most", countOption, 15)
    .option("--watch", "draw it again whenever something has changed, until Ctrl-C")
    .addHelpText(
      "after",
      `
Ended runs are those of the last 24 hours. Each run shows the end of its id; --json has everything.

Examples:
  $ signalbox board
  $ signalbox board --room room_01J… --watch`,
    )
    .action((options: BoardOptions) => act(async (cli) => (await import("../actions/board.ts")).board(cli, options)));
}
