import { access, constants, mkdtempDisposable, readFile, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { JetStreamApiError } from "@nats-io/jetstream";
import { type Logger, pino } from "pino";
import { createSignalboxClient } from "../client/client.ts";
import { openNats } from "../eventlog/nats.ts";
import { ensureStream, eventsStream } from "../eventlog/streams.ts";
import { createSubjects } from "../eventlog/subjects.ts";
import { pendingMigrations } from "../readmodel/migrate.ts";
import { openPostgres } from "../readmodel/postgres.ts";
import { findNatsServer } from "../stack/nats-binary.ts";
import { findPostgres } from "../stack/postgres-binary.ts";
import { CliError, exitCodes } from "./cli-error.ts";
import { portHint, portHolder } from "./port-holder.ts";
import type { RunningStack } from "./running-stack.ts";
import { settingTable } from "./setting-table.ts";
import type { Settings } from "./settings.ts";

/** What the checks look at. */
export interface CheckContext {
  readonly env: NodeJS.ProcessEnv;
  readonly settings: Settings;
  /** The stack of a `signalbox up` on the data folder; undefined when there is none. */
  readonly running: RunningStack | undefined;
}

/** One thing to look at. `run` answers what it found, and throws what is wrong. Nothing is changed. */
export interface Check {
  readonly name: string;
  readonly run: (context: CheckContext) => Promise<string>;
}

const minimumNode = [22, 22] as const;
const eventsStreamName = "EVENTS";
/** Variables that the program reads beside the settings. */
const otherVariables = new Set(["SIGNALBOX_NATS_SERVER", "SIGNALBOX_TEST_BACKEND", "SIGNALBOX_PUBLISH_PORT"]);
const silent: Logger = pino({ level: "silent" });

/** Everything that `signalbox doctor` looks at, in this order. */
export const checks: readonly Check[] = [
  { name: "node", run: async () => checkNode(process.versions.node) },
  { name: "variables", run: async ({ env }) => checkVariables(env) },
  { name: "data folder", run: checkDataFolder },
  { name: "nats", run: checkNats },
  { name: "postgres", run: checkPostgres },
  { name: "port", run: checkPort },
  { name: "server", run: checkServer },
];

/** The version when it is new enough. */
export function checkNode(version: string): string {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > minimumNode[0] || (major === minimumNode[0] && minor >= minimumNode[1])) return `Node ${version}`;
  const needed = minimumNode.join(".");
  throw problem(
    `Node ${version} is older than ${needed}`,
    "`npm ci` brings a newer one, which `npm start` uses by itself.",
  );
}

function checkVariables(env: NodeJS.ProcessEnv): string {
  const known = new Set<string>(Object.values(settingTable).map(({ variable }) => variable));
  const given = Object.keys(env).filter((name) => name.startsWith("SIGNALBOX_"));
  const unknown = given.filter((name) => !known.has(name) && !otherVariables.has(name));
  if (unknown.length === 0) return `${given.length} of ours are set, all known`;
  throw problem(`${unknown.join(", ")} is no setting`, "Correct or unset it; `signalbox config` lists every setting.");
}

async function checkDataFolder({ settings, running }: CheckContext): Promise<string> {
  const folder = resolve(settings.dataDir);
  const owner = running?.pid ?? (await lockHolder(folder));
  const existing = await nearestExisting(folder);
  try {
    await access(existing, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw problem(
      `${folder} can not be used: this user may not write to ${existing}`,
      "Give this user access to it, or choose another folder with SIGNALBOX_DATA_DIR.",
      error,
    );
  }
  if (owner !== undefined) return `${folder}, in use by process ${owner}`;
  return existing === folder ? folder : `${folder}, not there yet, can be created`;
}

async function checkNats({ env, settings, running }: CheckContext): Promise<string> {
  const url = settings.natsUrl ?? running?.natsUrl;
  if (url === undefined) {
    await using folder = await mkdtempDisposable(join(tmpdir(), "signalbox-doctor-"));
    const { path, version } = await findNatsServer({ env, binDir: folder.path, log: silent });
    const where = path.startsWith(folder.path) ? "from npm" : path;
    return `embedded: nats-server ${version} ${where}, started by signalbox up`;
  }
  await using nats = await openNats({ url, name: "signalbox doctor", log: silent });
  const stream = eventsStream(eventsStreamName, createSubjects().all, settings.durability === "replicated" ? 3 : 1);
  const found = await nats.jsm.streams.info(eventsStreamName).catch((error: unknown) => {
    if (error instanceof JetStreamApiError) return undefined;
    throw error;
  });
  if (found !== undefined) await ensureStream(nats.jsm, stream);
  const log = found === undefined ? "no log yet" : `log of ${found.state.messages} events, configured as needed`;
  return `version ${nats.connection.info?.version ?? "unknown"} with JetStream, ${log}`;
}

async function checkPostgres({ settings, running }: CheckContext): Promise<string> {
  const url = settings.databaseUrl ?? running?.databaseUrl;
  if (url === undefined) {
    await findPostgres();
    return "embedded: Postgres 18 from npm, started by signalbox up";
  }
  await using postgres = openPostgres({ url, log: silent, maxConnections: 1 });
  const { rows } = await postgres.db.query<{ server_version: string }>({
    name: "doctor_version",
    text: "show server_version",
  });
  const pending = await pendingMigrations(postgres);
  if (pending.length > 0) {
    throw problem(
      `the read models lack ${pending.join(", ")}`,
      "Run `signalbox migrate` (`signalbox up` does it by itself).",
    );
  }
  return `version ${rows[0]?.server_version ?? "unknown"}, read models up to date`;
}

async function checkPort({ settings: { host, port } }: CheckContext): Promise<string> {
  if (port === 0) return "any that is free";
  const holder = await portHolder(host, port);
  if (holder === "other") throw problem(`port ${port} on ${host} is taken by another program`, portHint(port, holder));
  return holder === "signalbox" ? `${port} on ${host}: a Signalbox listens there` : `${port} on ${host} is free`;
}

async function checkServer({ env, settings: { host, port, url, token, workspaceId } }: CheckContext): Promise<string> {
  const isNamed = Boolean(env[settingTable.url.variable]);
  if (!isNamed && (await portHolder(host, port)) !== "signalbox")
    return "none is running, and SIGNALBOX_URL names none";
  const baseUrl = isNamed ? url : `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
  using client = createSignalboxClient({ baseUrl, token, workspaceId });
  // Goes through authentication, validation and the read model, and changes nothing.
  await client.runs.listRuns({ pageSize: 1 }, { timeoutMs: 5_000 });
  return `${baseUrl} answers calls for workspace ${workspaceId}`;
}

async function lockHolder(folder: string): Promise<number | undefined> {
  const text = await readFile(join(folder, "lock.pid"), "utf8").catch(() => "");
  return Number.parseInt(text, 10) || undefined;
}

async function nearestExisting(path: string): Promise<string> {
  const isThere = await stat(path).then(
    () => true,
    () => false,
  );
  return isThere || dirname(path) === path ? path : nearestExisting(dirname(path));
}

function problem(message: string, hint: string, cause?: unknown): CliError {
  return new CliError(message, hint, exitCodes.failed, { cause });
}
