import type { Command } from "commander";
import type { Act } from "../cli.ts";
import { countOption, numberOption, type Rate, rateOption } from "../option-values.ts";

/** Options of `queues ls`. */
export interface ListQueuesOptions {
  readonly limit: number;
}

/** Options of `queues put`. */
export interface PutQueueOptions {
  readonly maxRunning?: number;
  readonly maxRunningPerKey?: number;
  readonly rate?: Rate | "none";
  readonly held?: boolean;
}

/** Adds `queues`. */
export function addQueues(program: Command, act: Act): void {
  const queues = program.command("queues").description("show queues, limit and hold them");
  queues
    .command("ls")
    .alias("list")
    .description("list the queues that have settings or open runs, by name")
    .option("--limit <count>", "how many at most", countOption, 50)
    .addHelpText("after", "\nExamples:\n  $ signalbox queues ls")
    .action((options: ListQueuesOptions) =>
      act(async (cli) => (await import("../actions/queues.ts")).listQueues(cli, options)),
    );
  queues
    .command("get <queue>")
    .description("show a queue")
    .addHelpText("after", "\nExamples:\n  $ signalbox queues get mail")
    .action((name: string) => act(async (cli) => (await import("../actions/queues.ts")).getQueue(cli, name)));
  queues
    .command("put <queue>")
    .description("set what is given of a queue, and nothing else; the first time creates it")
    .option("--max-running <count>", "how many runs are under way at the same time, 0 for no limit", numberOption)
    .option("--max-running-per-key <count>", "the same for runs that share a concurrency key", numberOption)
    .option("--rate <runs/time>", "how many runs may begin in a time, for example 100/1m, or none", rateOption)
    .option("--held", "keep new runs in the queue; running ones go on")
    .option("--no-held", "let them begin again")
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox queues put mail --max-running 2 --rate 100/1m
  $ signalbox queues put mail --held
  $ signalbox queues put mail --no-held --rate none`,
    )
    .action((name: string, options: PutQueueOptions) =>
      act(async (cli) => (await import("../actions/queues.ts")).putQueue(cli, name, options)),
    );
}
