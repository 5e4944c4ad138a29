import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Logger } from "pino";
import { openDataDir, unusable } from "./data-dir.ts";
import { openNatsServer } from "./nats-server.ts";
import { freePort } from "./ports.ts";
import { openPostgres } from "./postgres.ts";
import { errorCode } from "./stack-error.ts";
import type { Supervision } from "./supervisor.ts";

/** What to run, where. */
export interface StackOptions {
  /** Folder for everything that the embedded parts keep; created when it is missing. */
  dataDir: string;
  /** Of NATS: `fsync` survives a power cut, `relaxed` only the death of a process. */
  durability: "fsync" | "relaxed";
  /** A NATS of your own: none is embedded then. */
  natsUrl?: string | undefined;
  /** A Postgres of your own: none is embedded then. */
  databaseUrl?: string | undefined;
  log: Logger;
  /** Called when an embedded part has died again and again and is given up; at most once for each. */
  onFatal(error: Error): void;
  /** Aborts the opening; without effect once the stack is open. */
  signal?: AbortSignal | undefined;
  /** Read for SIGNALBOX_NATS_SERVER and PATH; default process.env. */
  env?: NodeJS.ProcessEnv;
}

/** A NATS and a Postgres that are ready for clients. Disposing stops the embedded ones; disposing twice is fine. */
export interface Stack extends AsyncDisposable {
  /** With user and password, as the URL constructor parses them. */
  readonly natsUrl: string;
  /** With user and password. */
  readonly databaseUrl: string;
  /** Absolute. */
  readonly dataDir: string;
  /** The monitoring address of the embedded NATS, without a trailing slash; undefined when NATS is your own. */
  readonly natsMonitorUrl: string | undefined;
}

/**
 * Starts the parts that are not given, both at the same time, on free ports of 127.0.0.1 that they keep until the stack is
 * disposed. Children of an earlier process that was killed are stopped first. With both parts given, nothing is started and
 * the data folder is not touched.
 * @throws StackError when the data folder is in use or unusable, or a part does not start; nothing is left running.
 */
export async function openStack(options: StackOptions): Promise<Stack> {
  const { natsUrl, databaseUrl } = options;
  if (natsUrl !== undefined && databaseUrl !== undefined) {
    const dataDir = resolve(options.dataDir);
    return { natsUrl, databaseUrl, dataDir, natsMonitorUrl: undefined, async [Symbol.asyncDispose]() {} };
  }
  await using opening = new AsyncDisposableStack();
  const { path: dataDir } = opening.use(await openDataDir(options.dataDir));
  await mkdir(join(dataDir, "log"), { recursive: true, mode: 0o700 });
  const { nats, postgres } = opening.use(await openParts(dataDir, options));
  const open = opening.move();
  let disposed: Promise<void> | undefined;
  return {
    natsUrl: nats.url,
    databaseUrl: postgres.url,
    dataDir,
    natsMonitorUrl: nats.monitorUrl,
    [Symbol.asyncDispose]: () => (disposed ??= open.disposeAsync()),
  };
}

interface Part extends AsyncDisposable {
  readonly url: string;
  readonly monitorUrl?: string;
}

async function openParts(dataDir: string, options: StackOptions) {
  const { durability, natsUrl, databaseUrl, log, onFatal, env = process.env } = options;
  const port = await freePort();
  const monitorPort = await freePort(port);
  const databasePort = await freePort(port, monitorPort);
  // The first failure ends the start of the other part.
  const failed = new AbortController();
  const signal = options.signal === undefined ? failed.signal : AbortSignal.any([failed.signal, options.signal]);
  const supervision: Supervision = { log, onFatal, signal };
  const opening: [Promise<Part>, Promise<Part>] = [
    natsUrl === undefined
      ? openNatsServer({ dataDir, durability, port, monitorPort, env }, supervision)
      : external(natsUrl),
    databaseUrl === undefined ? openPostgres({ dataDir, port: databasePort }, supervision) : external(databaseUrl),
  ];
  for (const part of opening) part.catch((error: unknown) => failed.abort(error));
  const opened = (await Promise.allSettled(opening)).filter((part) => part.status === "fulfilled");
  const dispose = async () => {
    await Promise.all(opened.map(({ value }) => value[Symbol.asyncDispose]()));
  };
  if (failed.signal.aborted) {
    await dispose();
    const error: unknown = failed.signal.reason;
    throw errorCode(error) === undefined ? error : unusable(dataDir, error);
  }
  const [nats, postgres] = await Promise.all(opening);
  return { nats, postgres, [Symbol.asyncDispose]: dispose };
}

async function external(url: string): Promise<Part> {
  return { url, async [Symbol.asyncDispose]() {} };
}
