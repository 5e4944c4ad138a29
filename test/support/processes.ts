import { randomBytes } from "node:crypto";
import { mkdtempDisposable, stat } from "node:fs/promises";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client } from "pg";
import { pino } from "pino";
import { migrate } from "../../src/readmodel/migrate.ts";
import { openPostgres } from "../../src/readmodel/postgres.ts";
import { type Child, type Program, startChild } from "../../src/stack/child.ts";
import { findNatsServer } from "../../src/stack/nats-binary.ts";
import { freePort } from "../../src/stack/ports.ts";
import { findPostgres } from "../../src/stack/postgres-binary.ts";
import { asUser, type Command, dyingWithUs } from "../../src/stack/setpriv.ts";
import { openStack, type Stack } from "../../src/stack/stack.ts";
import { until } from "./until.ts";

/** A process of a fault run. Disposing it ends it; it also dies with the process of the test. */
export interface Process extends AsyncDisposable {
  readonly name: string;
  /** Starts it, again on its port and data when it ran before, and returns once it is ready. */
  start(): Promise<void>;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** SIGSTOP: it holds still, with everything it has open. */
  suspend(): void;
  /** SIGCONT. */
  resume(): void;
}

/** A process that listens. */
export interface ServerProcess extends Process {
  readonly url: string;
}

/** What to run. */
export interface ProcessesOptions {
  readonly leaseTtlMs: number;
  /** Processes that play all roles, each on a port of its own; default 1. */
  readonly servers?: number;
}

/** An installation of which every part is a process of its own, all of them running. Disposing it leaves nothing behind. */
export interface Processes extends AsyncDisposable {
  /** Holds everything that the processes write. */
  readonly folder: string;
  /** Stores every event on disk before it is acknowledged. */
  readonly nats: Process;
  readonly postgres: Process;
  readonly servers: readonly ServerProcess[];
  readonly natsUrl: string;
  readonly databaseUrl: string;
  /** What the servers are set to, their ports apart. */
  readonly env: Readonly<Record<string, string>>;
  /** Runs a TypeScript file in a process of its own, its output going to `<name>.log` in the folder. */
  run(name: string, script: URL, env: Readonly<Record<string, string>>): Promise<Process>;
}

const silent = pino({ level: "silent" });
const bin = fileURLToPath(new URL("../../bin/signalbox.js", import.meta.url));

/** Sets up NATS and Postgres in a new folder, migrates, and starts everything. */
export async function openProcesses({ leaseTtlMs, servers: count = 1 }: ProcessesOptions): Promise<Processes> {
  await using opening = new AsyncDisposableStack();
  const { path: folder } = opening.use(await mkdtempDisposable(join(tmpdir(), "signalbox-faults-")));
  const stack = await setUp(folder);
  const { natsUrl, databaseUrl } = stack;
  const nats = opening.use(createProcess(await natsProgram(folder, stack)));
  const postgres = opening.use(createProcess(await postgresProgram(folder, databaseUrl)));
  await Promise.all([nats.start(), postgres.start()]);
  await migrateSchema(databaseUrl);
  const env = {
    NATS_URL: natsUrl,
    DATABASE_URL: databaseUrl,
    SIGNALBOX_ROLES: "server,projector,reactors",
    SIGNALBOX_LEASE_TTL_MS: String(leaseTtlMs),
    SIGNALBOX_SECRET: randomBytes(32).toString("base64"),
    SIGNALBOX_ROOT_KEY: randomBytes(32).toString("base64"),
    SIGNALBOX_ARTIFACT_DIR: join(folder, "artifacts"),
  };
  const servers: ServerProcess[] = [];
  for (let index = 0; index < count; index++) {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const name = `server-${index + 1}`;
    const command = await node([bin, "serve"], { ...env, SIGNALBOX_PORT: String(port) });
    const isReady = () => answers200(`${url}/readyz`);
    servers.push({ ...opening.use(createProcess({ ...program(folder, name, command), isReady })), url });
  }
  await Promise.all(servers.map((server) => server.start()));
  const running = opening.use(new AsyncDisposableStack());
  const open = opening.move();
  return {
    folder,
    nats,
    postgres,
    servers,
    natsUrl,
    databaseUrl,
    env,
    async run(name, script, own) {
      const command = await node([fileURLToPath(script)], own);
      const child = running.use(createProcess(program(folder, name, command)));
      await child.start();
      return child;
    },
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

/** Lets the embedded stack make its files once: what is started on them afterwards is ours to kill. */
async function setUp(folder: string): Promise<Pick<Stack, "natsUrl" | "databaseUrl" | "natsMonitorUrl">> {
  await using stack = await openStack({
    dataDir: folder,
    durability: "fsync",
    log: silent,
    onFatal: (error) => process.emitWarning(error),
  });
  return { natsUrl: stack.natsUrl, databaseUrl: stack.databaseUrl, natsMonitorUrl: stack.natsMonitorUrl };
}

async function natsProgram(folder: string, { natsMonitorUrl }: Pick<Stack, "natsMonitorUrl">): Promise<Program> {
  const { path } = await findNatsServer({ env: process.env, binDir: join(folder, "bin"), log: silent });
  const args = ["-c", join(folder, "nats", "server.conf")];
  const command = await dyingWithUs({ file: path, args }, "SIGKILL");
  return { ...program(folder, "nats", command), isReady: () => answers200(`${natsMonitorUrl}/healthz`) };
}

async function postgresProgram(folder: string, databaseUrl: string): Promise<Program> {
  const data = join(folder, "postgres", "data");
  const settings = [
    `port=${new URL(databaseUrl).port}`,
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=200",
  ];
  const file = (await findPostgres()).postgres;
  const plain = { file, args: ["-D", data, ...settings.flatMap((setting) => ["-c", setting])] };
  const { uid, gid } = await stat(data);
  const isRoot = process.getuid?.() === 0;
  const command = isRoot ? await asUser(plain, { uid, gid }, "SIGKILL") : await dyingWithUs(plain, "SIGKILL");
  // Killed, it would leave sessions behind that write into the folder while that is removed.
  const stopSignal = "SIGINT";
  return { ...program(folder, "postgres", command), stopSignal, isReady: () => takesQueries(databaseUrl) };
}

/** Through a shell that replaces itself: the child's environment is ours to choose, and its pid is the program's. */
async function node(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Command> {
  const settings = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  return dyingWithUs({ file: "/usr/bin/env", args: [...settings, process.execPath, ...args] }, "SIGKILL");
}

/** A program with its log and pid file in the folder. */
export function program(folder: string, name: string, command: Command): Program {
  return {
    name,
    command,
    cwd: folder,
    logFile: join(folder, `${name}.log`),
    pidFile: join(folder, `${name}.pid`),
    stopSignal: "SIGKILL",
    stopTimeoutMs: 10_000,
    startTimeoutMs: 30_000,
    isReady: async () => true,
  };
}

/** A process that is not started yet. */
export function createProcess(own: Program): Process {
  let child: Child | undefined;

  function signal(name: NodeJS.Signals): Child {
    if (child === undefined || child.hasExited()) throw new Error(`${own.name} does not run`);
    process.kill(child.pid, name);
    return child;
  }

  async function start(): Promise<void> {
    if (child !== undefined && !child.hasExited()) throw new Error(`${own.name} runs already`);
    let refusal: unknown;
    const attempt = () =>
      startChild(own, silent, new AbortController().signal).catch((error: unknown): undefined => {
        refusal = error;
      });
    // The sessions of a killed Postgres take a moment to notice, and keep a new one from starting until then.
    const started = until(attempt, { what: `${own.name} to start`, timeoutMs: own.startTimeoutMs, intervalMs: 100 });
    child = await started.catch((error: unknown) => {
      throw new Error(`${own.name} does not start`, { cause: refusal ?? error });
    });
  }

  return {
    name: own.name,
    start,
    async kill() {
      await signal("SIGKILL").exited;
    },
    suspend: () => void signal("SIGSTOP"),
    resume: () => void signal("SIGCONT"),
    async [Symbol.asyncDispose]() {
      if (child === undefined || child.hasExited()) return;
      // One that holds still hears no other signal.
      await signal("SIGCONT").stop();
    },
  };
}

async function migrateSchema(url: string): Promise<void> {
  await using postgres = openPostgres({ url, log: silent });
  await migrate(postgres);
}

/** True when the address answers 200. */
export function answers200(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get(url, { agent: false, timeout: 2_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(false));
  });
}

async function takesQueries(connectionString: string): Promise<boolean> {
  const client = new Client({ connectionString, connectionTimeoutMillis: 1_000 });
  // Unheard, the loss of a connection would end our own process.
  client.on("error", () => {});
  try {
    await client.connect();
    await client.query("select 1");
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}
