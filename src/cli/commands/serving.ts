import { type Command, Option } from "commander";
import type { Act } from "../cli.ts";
import { countOption, listOption } from "../option-values.ts";

/** Options of `serve`. */
export interface ServeOptions {
  readonly roles?: string;
}

/** Options of `worker`. */
export interface WorkerOptions {
  readonly queues: readonly string[];
  readonly concurrency: number;
  readonly transport: "unary" | "stream";
}

/** Adds `up`, `serve` and `worker`. */
export function addServing(program: Command, act: Act): void {
  program
    .command("up")
    .description("start everything on this machine: NATS, Postgres, server and worker")
    .addHelpText(
      "after",
      `
NATS and Postgres are embedded unless NATS_URL and DATABASE_URL name your own. Ctrl-C stops everything; nothing is lost.

Examples:
  $ signalbox up
  $ SIGNALBOX_PORT=0 SIGNALBOX_DATA_DIR=/tmp/try signalbox up
  $ NATS_URL=nats://127.0.0.1:4222 signalbox up`,
    )
    .action(() => act(async (cli) => (await import("../actions/up.ts")).up(cli)));
  program
    .command("serve")
    .description("play roles of a server on a NATS and a Postgres of your own")
    .option("--roles <roles>", "some of server, projector, reactors, worker (default: SIGNALBOX_ROLES)")
    .addHelpText(
      "after",
      `
Needs NATS_URL and DATABASE_URL, and read models brought up to date by \`signalbox migrate\`.

Examples:
  $ signalbox serve --roles server
  $ signalbox serve --roles projector,reactors`,
    )
    .action((options: ServeOptions) =>
      act(async (cli) => (await import("../actions/serving.ts")).serveRoles(cli, options)),
    );
  program
    .command("worker")
    .description(
      "work on runs with the built-in handlers: agent, and echo, sleep, flaky, steps and others to try it with",
    )
    .option("--queues <names>", "the queues to take runs from, commas between", listOption, ["default"])
    .option("--concurrency <count>", "runs at the same time", countOption, 4)
    .addOption(
      new Option("--transport <way>", "single calls, or runs and records on one stream")
        .choices(["unary", "stream"])
        .default("unary"),
    )
    .addHelpText(
      "after",
      `
Needs nothing but the server: SIGNALBOX_URL and, where it asks for one, SIGNALBOX_TOKEN.

Examples:
  $ signalbox worker
  $ signalbox worker --queues default,slow --concurrency 16 --url http://10.0.0.1:8080
  $ signalbox worker --transport stream`,
    )
    .action((options: WorkerOptions) => act(async (cli) => (await import("../actions/worker.ts")).work(cli, options)));
}
