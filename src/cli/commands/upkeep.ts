import type { Command } from "commander";
import { usageError } from "../cli-error.ts";
import type { Act } from "../cli.ts";
import { hashOption } from "../option-values.ts";

const stores = `
Uses NATS_URL and DATABASE_URL; without them the stack of a \`signalbox up\` that runs on the data folder, else it starts
the stack of that folder for as long as the command takes.
`;

/** Options of `verify`. */
export interface VerifyOptions {
  /** In lower-case hex. */
  readonly head?: string;
}

/** Adds `migrate`, `rebuild`, `verify`, `doctor` and `config`. */
export function addUpkeep(program: Command, act: Act): void {
  program
    .command("migrate")
    .description("bring the read models' tables up to date, forwards only")
    .addHelpText("after", `${stores}\nExamples:\n  $ DATABASE_URL=postgres://… signalbox migrate`)
    .action(() => act(async (cli) => (await import("../actions/migrate.ts")).migrateTables(cli)));
  program
    .command("rebuild")
    .description("fold the read models again from the log, beside the live ones, and swap")
    .addHelpText("after", `${stores}\nExamples:\n  $ signalbox rebuild`)
    .action(() => act(async (cli) => (await import("../actions/rebuild.ts")).rebuildTables(cli)));
  addVerify(program, act);
  program
    .command("doctor")
    .description("say what is wrong and what to do")
    .addHelpText(
      "after",
      "\nChanges nothing. Exits with 1 when there is a problem.\n\nExamples:\n  $ signalbox doctor\n  $ signalbox doctor --json",
    )
    .action(() => act(async (cli) => (await import("../actions/doctor.ts")).doctor(cli)));
  program
    .command("config")
    .description("list every setting with its value, default and source; secrets masked")
    .addHelpText("after", "\nExamples:\n  $ signalbox config\n  $ SIGNALBOX_PORT=9000 signalbox config --json")
    .action(() => act(async (cli) => (await import("../actions/config.ts")).config(cli)));
}

function addVerify(program: Command, act: Act): void {
  program
    .command("verify [bundle]")
    .description("check a bundle offline; without one, fold the log again and compare with the read models")
    .option("--head <hash>", "the hash that the last event in the bundle must have, known from elsewhere", hashOption)
    .addHelpText(
      "after",
      `
With a bundle it needs no server, no stores and no settings: it checks the hash chain of the run's events, that run.json and
every readable event are what the stored bytes say, each file's SHA-256, and every byte of the zip around them. It names the
first thing that does not fit. Who makes the whole bundle anew can make it fit: --head pins it to the log.

Without a bundle:${stores}
Exits with 1 when something differs.

Examples:
  $ signalbox verify run_01J….zip
  $ signalbox verify run_01J….zip --head 5f3a… --json
  $ signalbox verify`,
    )
    .action((bundle: string | undefined, options: VerifyOptions) =>
      act(async (cli) => {
        if (bundle !== undefined) return (await import("../actions/verify-bundle.ts")).verify(cli, bundle, options);
        if (options.head !== undefined)
          throw usageError("--head needs a bundle", "signalbox verify <bundle> --head <hash>");
        return (await import("../actions/verify.ts")).verifyTables(cli);
      }),
    );
}
