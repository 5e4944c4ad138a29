import type { Logger } from "pino";
import { openStack } from "../stack/stack.ts";
import type { Cli } from "./cli.ts";
import { findRunningStack } from "./running-stack.ts";
import type { Settings } from "./settings.ts";

/** Where the stores are for as long as a command takes. */
export interface UpkeepStores extends AsyncDisposable {
  readonly natsUrl: string;
  readonly databaseUrl: string;
}

/**
 * The stores that the settings name, else those of a `signalbox up` that runs on the data folder, else the embedded ones,
 * started until disposed.
 */
export async function openUpkeepStores({ env, signal }: Cli, settings: Settings, log: Logger): Promise<UpkeepStores> {
  const running = await findRunningStack(settings.dataDir);
  const natsUrl = settings.natsUrl ?? running?.natsUrl;
  const databaseUrl = settings.databaseUrl ?? running?.databaseUrl;
  return openStack({
    dataDir: settings.dataDir,
    durability: settings.durability === "relaxed" ? "relaxed" : "fsync",
    natsUrl,
    databaseUrl,
    log,
    // The command fails by itself when a store goes away under it.
    onFatal: (error) => log.error({ err: error }, "a part of the stack is gone"),
    signal,
    env,
  });
}
