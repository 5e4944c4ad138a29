import type { Logger } from "pino";
import { migrate } from "../../readmodel/migrate.ts";
import { openPostgres } from "../../readmodel/postgres.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import { createLogger } from "../logger.ts";
import { readSettings, type Settings } from "../settings.ts";
import { openUpkeepStack } from "../upkeep.ts";

/** `signalbox migrate`. */
export async function migrateTables(cli: Cli): Promise<ExitCode> {
  const settings = readSettings(cli.env);
  const log = createLogger(settings.logLevel, cli.output.logStream);
  await using stores = await openDatabase(cli, settings, log);
  await using postgres = openPostgres({ url: stores.databaseUrl, log, maxConnections: 1 });
  const applied = await migrate(postgres);
  cli.output.show(
    { applied },
    applied.length === 0 ? "the read models are up to date" : applied.map((name) => `applied ${name}`).join("\n"),
  );
  return exitCodes.ok;
}

/** The database alone where it is named: then nothing is started. */
async function openDatabase(cli: Cli, settings: Settings, log: Logger) {
  const { databaseUrl } = settings;
  if (databaseUrl !== undefined) return { databaseUrl, [Symbol.asyncDispose]: () => Promise.resolve() };
  return openUpkeepStack(cli, settings, log);
}
