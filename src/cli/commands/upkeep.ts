import type { Command } from "commander";
import type { Act } from "../cli.ts";

const stores = `
Uses NATS_URL and DATABASE_URL; without them the stack of a \`signalbox up\` that runs on the data folder, else it starts
the stack of that folder for as long as the command takes.
`;

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
  program
    .command("verify")
    .description("fold the log again, compare with the read models, and check the hash chains")
    .addHelpText(
      "after",
      `${stores}\nExits with 1 when something differs.\n\nExamples:\n  $ signalbox verify\n  $ signalbox verify --json`,
    )
    .action(() => act(async (cli) => (await import("../actions/verify.ts")).verifyTables(cli)));
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
