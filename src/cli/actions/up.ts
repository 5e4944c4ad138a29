import type { Logger } from "pino";
import { createSignalboxClient } from "../../client/client.ts";
import { migrate } from "../../readmodel/migrate.ts";
import { openPostgres } from "../../readmodel/postgres.ts";
import { aborted } from "../../kernel/wait.ts";
import { openStack } from "../../stack/stack.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import { isInterruption } from "../failure.ts";
import { createLogger } from "../logger.ts";
import { announceStack } from "../running-stack.ts";
import { readSettings, type Settings } from "../settings.ts";
import { createStarterSet } from "../starter-set.ts";
import { readyText } from "../views/ready.ts";
import { playRoles } from "./serving.ts";

/** `signalbox up`: the whole stack on this machine, until it is told to stop. */
export async function up(cli: Cli): Promise<ExitCode> {
  const settings = readSettings(cli.env);
  const log = createLogger(settings.logLevel, cli.output.logStream);
  const stop = new AbortController();
  const onFatal = (error: unknown) => stop.abort(error);
  const signal = AbortSignal.any([cli.signal, stop.signal]);
  try {
    await using stack = await openStack({
      ...settings,
      // `replicated` is for a cluster of the user's own; there is no embedded one then.
      durability: settings.durability === "relaxed" ? "relaxed" : "fsync",
      log,
      onFatal,
      signal,
      env: cli.env,
    });
    const { natsUrl, databaseUrl, dataDir } = stack;
    await migrateAt(databaseUrl, log);
    await using playing = await playRoles(
      { ...settings, natsUrl, databaseUrl, dataDir, env: cli.env },
      log,
      signal,
      onFatal,
    );
    const embedded = settings.natsUrl === undefined || settings.databaseUrl === undefined;
    await using _word = embedded ? await announceStack(dataDir, { pid: process.pid, natsUrl, databaseUrl }) : undefined;
    if (playing.url !== undefined) await addStarterSet(cli, settings, playing.url, log);
    const url = playing.url ?? null;
    cli.output.show({ url, dataDir, durability: settings.durability }, readyText(settings, playing.url, dataDir));
    await aborted(signal);
  } catch (error) {
    if (!isInterruption(error, cli.signal)) throw error;
  }
  if (stop.signal.aborted) throw stop.signal.reason;
  return exitCodes.ok;
}

/** An embedding server that hangs must not keep the stack from being ready. */
const starterTimeoutMs = 10_000;

/** Creates the preset agents and the starter documents of the workspace; without them everything else works, too. */
async function addStarterSet({ signal }: Cli, settings: Settings, url: string, log: Logger): Promise<void> {
  using client = createSignalboxClient({ baseUrl: url, token: settings.token, workspaceId: settings.workspaceId });
  try {
    await createStarterSet(client, AbortSignal.any([signal, AbortSignal.timeout(starterTimeoutMs)]));
  } catch (error) {
    if (signal.aborted) throw error;
    log.warn({ err: error }, "the preset agents could not be created; `signalbox presets create` tries again");
  }
}

async function migrateAt(databaseUrl: string, log: Logger): Promise<void> {
  await using postgres = openPostgres({ url: databaseUrl, log, maxConnections: 1 });
  await migrate(postgres);
}
