import type { Command } from "commander";
import type { Act } from "../cli.ts";
import { countOption } from "../option-values.ts";

/** Options of `workers ls`. */
export interface ListWorkersOptions {
  readonly limit: number;
}

/** Adds `workers`. */
export function addWorkers(program: Command, act: Act): void {
  const workers = program.command("workers").description("show who works on runs");
  workers
    .command("ls")
    .alias("list")
    .description("list the workers that have reported within 10 minutes, by id")
    .option("--limit <count>", "how many at most", countOption, 200)
    .addHelpText(
      "after",
      `
Workers report themselves every 15 s; one that has not for 45 s is SILENT. BUSY is the runs that a worker has, of those
that it takes at the same time.

Examples:
  $ signalbox workers ls
  $ signalbox workers ls --json`,
    )
    .action((options: ListWorkersOptions) =>
      act(async (cli) => (await import("../actions/workers.ts")).listWorkers(cli, options)),
    );
}
