import { execFile } from "node:child_process";
import { chown, mkdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { Client } from "pg";
import { type Program, childEnvironment } from "./child.ts";
import { stopOrphan } from "./orphan.ts";
import { type PostgresBinaries, findPostgres } from "./postgres-binary.ts";
import { createSecret, readSecret } from "./secret.ts";
import { type Command, type User, asUser, dyingWithUs } from "./setpriv.ts";
import { StackError, errorCode, errorMessage } from "./stack-error.ts";
import { type Supervision, supervise } from "./supervisor.ts";

/** How to run the embedded Postgres. */
export interface PostgresOptions {
  /** The data folder; its lock is held by the caller. */
  dataDir: string;
  /** Port for clients. */
  port: number;
}

/** A Postgres on 127.0.0.1 with a database `signalbox` that runs until it is disposed. */
export interface Postgres extends AsyncDisposable {
  /** With user and password. */
  readonly url: string;
}

/** A Postgres data folder and how to run programs on it. */
interface Cluster {
  readonly binaries: PostgresBinaries;
  /** Holds `data` and `password`; belongs to the user who runs Postgres. */
  readonly folder: string;
  readonly data: string;
  readonly passwordFile: string;
  /** Set when we are root, who may not run Postgres. */
  readonly user: User | undefined;
}

const role = "signalbox";
const database = "signalbox";
// Ends the sessions of clients; SIGTERM would wait for them.
const stopSignal = "SIGINT";

/**
 * Starts the embedded Postgres, set up at the first start, and supervises it: a server that dies comes back on the same
 * port with the same data. It is durable whatever the durability of NATS.
 * @throws StackError when there is no Postgres for this platform, or it does not start.
 */
export async function openPostgres(options: PostgresOptions, supervision: Supervision): Promise<Postgres> {
  const cluster = await findCluster(join(options.dataDir, "postgres"));
  const program = await serverProgram(cluster, options);
  const orphan = { ...program, argument: cluster.data };
  await stopOrphan(orphan, supervision.log);
  // Postgres would refuse to start while the pid in here belongs to any process of the same user.
  await stopOrphan({ ...orphan, pidFile: join(cluster.data, "postmaster.pid") }, supervision.log);

  const password = await initialize(cluster, supervision);
  const url = (name: string) => `postgres://${role}:${password}@127.0.0.1:${options.port}/${name}`;
  await using starting = new AsyncDisposableStack();
  const running = starting.use(await supervise(program, supervision));
  await ensureDatabase(url("postgres"));
  starting.move();
  return { url: url(database), [Symbol.asyncDispose]: () => running[Symbol.asyncDispose]() };
}

async function findCluster(folder: string): Promise<Cluster> {
  const binaries = await findPostgres();
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const user = process.getuid?.() === 0 ? await ownerInsteadOfRoot(folder) : undefined;
  return { binaries, folder, data: join(folder, "data"), passwordFile: join(folder, "password"), user };
}

/** The owner of the folder, which is given to `nobody` when it is root's. */
async function ownerInsteadOfRoot(folder: string): Promise<User> {
  const { uid, gid } = await stat(folder);
  if (uid !== 0) return { uid, gid };
  const nobody = { uid: 65_534, gid: 65_534 };
  await chown(folder, nobody.uid, nobody.gid);
  return nobody;
}

async function serverProgram(cluster: Cluster, options: PostgresOptions): Promise<Program> {
  const settings = {
    listen_addresses: "127.0.0.1",
    port: options.port,
    unix_socket_directories: "",
    max_connections: 200,
    fsync: "on",
    timezone: "UTC",
    log_timezone: "UTC",
    log_checkpoints: "off",
  };
  const args = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  return {
    name: "postgres",
    command: await runnable(cluster, { file: cluster.binaries.postgres, args: ["-D", cluster.data, ...args] }),
    cwd: options.dataDir,
    logFile: join(options.dataDir, "log", "postgres.log"),
    pidFile: join(cluster.folder, "server.pid"),
    stopSignal,
    stopTimeoutMs: 15_000,
    startTimeoutMs: 120_000,
    isReady: (pid) => isReady(cluster.data, pid),
  };
}

function runnable({ user }: Cluster, command: Command): Promise<Command> {
  return user === undefined ? dyingWithUs(command, stopSignal) : asUser(command, user, stopSignal);
}

/** Creates the cluster unless there is one. Returns the password of the role. */
async function initialize(cluster: Cluster, { log, signal }: Supervision): Promise<string> {
  const isNew = !(await exists(join(cluster.data, "PG_VERSION")));
  const kept = await readSecret(cluster.passwordFile);
  if (kept === undefined && !isNew) {
    throw new StackError(
      `the password of the embedded Postgres is missing: ${cluster.passwordFile}`,
      `Put it back, or move ${cluster.folder} away: everything in it is derived from the log and will be built again.`,
    );
  }
  const password = kept ?? (await createSecret(cluster.passwordFile));
  if (!isNew) return password;
  log.info({ folder: cluster.data }, "setting up the embedded Postgres");
  if (cluster.user !== undefined) await chown(cluster.passwordFile, cluster.user.uid, cluster.user.gid);
  // Made beside and renamed: a crash leaves a whole cluster or none.
  const unfinished = `${cluster.data}.new`;
  await rm(unfinished, { recursive: true, force: true });
  await rm(cluster.data, { recursive: true, force: true });
  await initdb(cluster, unfinished, signal);
  await rename(unfinished, cluster.data);
  return password;
}

async function initdb(cluster: Cluster, data: string, signal: AbortSignal): Promise<void> {
  const args = [
    `--pgdata=${data}`,
    `--username=${role}`,
    `--pwfile=${cluster.passwordFile}`,
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    // Postgres' own C.UTF-8: the same order on every platform, whatever its C library.
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
  ];
  const { file, args: allArgs } = await runnable(cluster, { file: cluster.binaries.initdb, args });
  try {
    await promisify(execFile)(file, allArgs, { cwd: cluster.folder, env: childEnvironment(), signal });
  } catch (error) {
    signal.throwIfAborted();
    const output = error instanceof Error && "stderr" in error ? `\n${String(error.stderr).trim()}` : "";
    throw new StackError(
      `the embedded Postgres could not be set up in ${cluster.folder}${output}`,
      "Solve what initdb says, or set DATABASE_URL to a Postgres of your own.",
      { cause: error },
    );
  }
}

// What pg_ctl does: line 1 of postmaster.pid is the server's pid, line 8 its state.
async function isReady(data: string, pid: number): Promise<boolean> {
  try {
    const lines = (await readFile(join(data, "postmaster.pid"), "utf8")).split("\n");
    return Number(lines[0]) === pid && lines[7]?.trim() === "ready";
  } catch (error) {
    if (errorCode(error) === "ENOENT") return false;
    throw error;
  }
}

async function ensureDatabase(url: string): Promise<void> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  // A lost connection rejects what is awaited below; unheard, the event would end the process besides.
  client.on("error", () => {});
  try {
    await client.connect();
    const { rowCount } = await client.query("select 1 from pg_database where datname = $1", [database]);
    if (rowCount === 0) await client.query(`create database ${database}`);
  } catch (error) {
    throw new StackError(
      `the embedded Postgres runs but cannot be used: ${errorMessage(error)}`,
      "If the password is refused, the file postgres/password in the data folder is not the one of this database.",
      { cause: error },
    );
  } finally {
    await client.end();
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return false;
    throw error;
  }
}
