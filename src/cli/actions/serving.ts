import type { Logger } from "pino";
import { SignalboxError } from "../../kernel/errors.ts";
import { aborted } from "../../kernel/wait.ts";
import { pendingMigrations } from "../../readmodel/migrate.ts";
import { openPostgres } from "../../readmodel/postgres.ts";
import type { ArtifactOptions } from "../artifacts.ts";
import { blobSettings } from "../blob-settings.ts";
import { CliError, type ExitCode, exitCodes, usageError } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { ServeOptions } from "../commands/serving.ts";
import { leaseSecret } from "../lease-secret.ts";
import { createLogger } from "../logger.ts";
import { portHint, portHolder } from "../port-holder.ts";
import { serve, type Serving } from "../serve.ts";
import { readSettings, type Role } from "../settings.ts";
import { builtInWorker, type WorkerSettings } from "./worker.ts";

/** Roles at play. Disposing ends them, the worker first. */
export interface Playing extends AsyncDisposable {
  /** Where the server listens; undefined without the role `server`. */
  readonly url: string | undefined;
}

/** Settings with the stores named. */
export type StoreSettings = WorkerSettings & { readonly natsUrl: string; readonly databaseUrl: string };

/** `signalbox serve`: plays roles until it is told to stop. */
export async function serveRoles(cli: Cli, { roles }: ServeOptions): Promise<ExitCode> {
  const settings = readSettings(roles === undefined ? cli.env : { ...cli.env, SIGNALBOX_ROLES: roles });
  const { natsUrl, databaseUrl } = settings;
  if (natsUrl === undefined || databaseUrl === undefined) {
    const hint = "Set both, or let `signalbox up` bring its own; a worker alone is `signalbox worker`.";
    throw usageError("serve needs NATS_URL and DATABASE_URL", hint);
  }
  const log = createLogger(settings.logLevel, cli.output.logStream);
  if (settings.secret === undefined && settings.roles.includes("server")) {
    log.warn(
      "SIGNALBOX_SECRET is not set: lease tokens of this server are refused by servers with another data folder",
    );
  }
  if (settings.roles.some((role) => role !== "worker")) await requireMigrated(databaseUrl, log);
  const stop = new AbortController();
  const signal = AbortSignal.any([cli.signal, stop.signal]);
  await using playing = await playRoles({ ...settings, natsUrl, databaseUrl, env: cli.env }, log, signal, (error) =>
    stop.abort(error),
  );
  const where = playing.url ?? `(${settings.roles.join(", ")})`;
  cli.output.show({ url: playing.url ?? null, roles: [...settings.roles] }, `signalbox ready ${where}`);
  await aborted(signal);
  if (stop.signal.aborted) throw stop.signal.reason;
  return exitCodes.ok;
}

async function requireMigrated(databaseUrl: string, log: Logger): Promise<void> {
  await using postgres = openPostgres({ url: databaseUrl, log, maxConnections: 1 });
  const pending = await pendingMigrations(postgres);
  if (pending.length === 0) return;
  const hint = "Run `signalbox migrate` with the same DATABASE_URL first.";
  throw new CliError(`the read models are not up to date: they lack ${pending.join(", ")}`, hint, exitCodes.failed);
}

/**
 * Plays the roles of the settings until disposed; the worker also ends when the signal aborts. `onFatal` hears of a
 * worker that the server refuses for good.
 */
export async function playRoles(
  settings: StoreSettings,
  log: Logger,
  signal: AbortSignal,
  onFatal: (error: unknown) => void,
): Promise<Playing> {
  await using opening = new AsyncDisposableStack();
  const serverRoles = settings.roles.filter((role) => role !== "worker");
  const serving = serverRoles.length === 0 ? undefined : opening.use(await openRoles(settings, serverRoles, log));
  if (settings.roles.includes("worker")) {
    // Nothing stands between the worker and a server of its own process that could hold a stream up.
    const way = serving?.url === undefined ? {} : ({ transport: "stream" } as const);
    const worker = opening.use(await builtInWorker({ ...settings, url: serving?.url ?? settings.url }, log, way));
    worker.run(signal).catch(onFatal);
  }
  const open = opening.move();
  return { url: serving?.url, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

async function openRoles(
  settings: StoreSettings,
  roles: readonly Exclude<Role, "worker">[],
  log: Logger,
): Promise<Serving> {
  const { host, port, maxInputBytes, maxOutputBytes, durability } = settings;
  try {
    return await serve({
      ...settings,
      roles: new Set(roles),
      replicas: durability === "replicated" ? 3 : 1,
      secret: await leaseSecret(settings),
      limits: { maxInputBytes, maxOutputBytes },
      artifacts: artifactOptions(settings),
      log,
    });
  } catch (error) {
    if (!isPortTaken(error)) throw error;
    const holder = (await portHolder(host, port)) === "signalbox" ? "signalbox" : "other";
    throw new CliError(`port ${port} on ${host} is taken`, portHint(port, holder), exitCodes.failed, { cause: error });
  }
}

function artifactOptions(settings: StoreSettings): ArtifactOptions {
  const { env, accessesPerMinute, publicUrl, artifactRetentionMs: retentionMs, artifactGraceMs: graceMs } = settings;
  const { maxArtifactBytes, maxRunArtifacts, maxRunArtifactBytes, maxWorkspaceArtifactBytes } = settings;
  return {
    blobs: blobSettings(settings),
    rootKeys: settings,
    env,
    accessesPerMinute,
    publicUrl,
    limits: {
      maxArtifactBytes,
      maxRunArtifacts,
      maxRunBytes: maxRunArtifactBytes,
      maxWorkspaceBytes: maxWorkspaceArtifactBytes,
      retentionMs,
      graceMs,
    },
  };
}

function isPortTaken(error: unknown): boolean {
  const cause = error instanceof SignalboxError ? error.cause : undefined;
  return cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE";
}
