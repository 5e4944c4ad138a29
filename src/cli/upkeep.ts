import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { Logger } from "pino";
import type { Progress } from "../readmodel/upkeep.ts";
import { openStack, type Stack } from "../stack/stack.ts";
import { CliError, exitCodes } from "./cli-error.ts";
import type { Cli } from "./cli.ts";
import { createLogger } from "./logger.ts";
import { findRunningStack } from "./running-stack.ts";
import { readSettings, type Settings } from "./settings.ts";
import { openStores, type Stores } from "./stores.ts";

/**
 * The parts that the settings name, else those of a `signalbox up` that runs on the data folder, else the embedded ones,
 * started until disposed. Throws a CliError when they would be new: there is nothing to look after then.
 */
export async function openUpkeepStack({ env, signal }: Cli, settings: Settings, log: Logger): Promise<Stack> {
  const running = await findRunningStack(settings.dataDir);
  const natsUrl = settings.natsUrl ?? running?.natsUrl;
  const databaseUrl = settings.databaseUrl ?? running?.databaseUrl;
  if (natsUrl === undefined || databaseUrl === undefined) await requireDataDir(settings.dataDir);
  return openStack({
    dataDir: settings.dataDir,
    durability: settings.durability === "relaxed" ? "relaxed" : "fsync",
    natsUrl,
    databaseUrl,
    log,
    // The command fails by itself when a part goes away under it.
    onFatal: (error) => log.error({ err: error }, "a part of the stack is gone"),
    signal,
    env,
  });
}

async function requireDataDir(dataDir: string): Promise<void> {
  const folder = resolve(dataDir);
  const exists = await stat(folder).then(
    () => true,
    () => false,
  );
  if (exists) return;
  const hint =
    "Set SIGNALBOX_DATA_DIR to the folder of a `signalbox up`, or NATS_URL and DATABASE_URL to your own servers.";
  throw new CliError(`there is no Signalbox at ${folder}`, hint, exitCodes.failed);
}

/** The stores of openUpkeepStack, connected. Logs warnings only: these commands have progress to show. */
export async function openUpkeep(cli: Cli): Promise<Stores> {
  const settings = readSettings(cli.env);
  const log = createLogger(settings.logLevel === "info" ? "warn" : settings.logLevel, cli.output.logStream);
  await using opening = new AsyncDisposableStack();
  const { natsUrl, databaseUrl } = opening.use(await openUpkeepStack(cli, settings, log));
  const replicas = settings.durability === "replicated" ? 3 : 1;
  const stores = opening.use(await openStores({ natsUrl, databaseUrl, replicas, log }));
  const open = opening.move();
  return { ...stores, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

/** `rebuilding  12000 of 50000 (24 %)`. */
export function progressText(what: string, { position, head }: Progress): string {
  const percent = head === 0n ? 100n : (position * 100n) / head;
  return `${what}  ${position} of ${head} (${percent} %)`;
}
