import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { Client } from "pg";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { freePort } from "../../src/stack/ports.ts";
import { findPostgres } from "../../src/stack/postgres-binary.ts";
import { asUser } from "../../src/stack/setpriv.ts";
import { type Stack, type StackOptions, openStack } from "../../src/stack/stack.ts";
import { until } from "../support/until.ts";
import { script, temporaryFolder } from "./folder.ts";

function open(dataDir: string, options: Partial<StackOptions> = {}): Promise<Stack> {
  const onFatal = (error: Error) => expect.unreachable(error.message);
  return openStack({ dataDir, durability: "fsync", log: pino({ level: "silent" }), onFatal, ...options });
}

async function openNats(stack: Pick<Stack, "natsUrl">) {
  const { host, username, password } = new URL(stack.natsUrl);
  const nats = await connect({ servers: host, user: username, pass: password, reconnect: false });
  return { nats, [Symbol.asyncDispose]: () => nats.close() };
}

async function append(stack: Stack): Promise<void> {
  await using connection = await openNats(stack);
  const manager = await jetstreamManager(connection.nats);
  await manager.streams.add({ name: "KEPT", subjects: ["kept"] });
  await jetstream(connection.nats).publish("kept", "message");
}

async function messages(stack: Stack): Promise<number> {
  await using connection = await openNats(stack);
  const manager = await jetstreamManager(connection.nats);
  return (await manager.streams.info("KEPT")).state.messages;
}

async function query(stack: Pick<Stack, "databaseUrl">, text: string): Promise<unknown[]> {
  const client = new Client(stack.databaseUrl);
  client.on("error", () => {}); // A server that is killed on purpose ends its sessions.
  try {
    await client.connect();
    return (await client.query<unknown[]>({ text, rowMode: "array" })).rows.flat();
  } finally {
    await client.end();
  }
}

async function pids(dataDir: string): Promise<number[]> {
  const files = ["nats", "postgres"].map((part) => readFile(join(dataDir, part, "server.pid"), "utf8"));
  return (await Promise.all(files)).map(Number);
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** What `look` returns as soon as it does not throw. */
function eventually<T extends {}>(what: string, look: () => Promise<T>): Promise<T> {
  return until(async () => look().catch(() => undefined), { what }) as Promise<T>;
}

test("a stack keeps what is written, over a stop and a start", async () => {
  await using folder = await temporaryFolder();
  const first = await open(folder.path);
  await append(first);
  await query(first, "create table kept as select 42 as answer");
  await Promise.all([first[Symbol.asyncDispose](), first[Symbol.asyncDispose]()]);

  await using second = await open(folder.path);
  expect(await messages(second)).toBe(1);
  expect(await query(second, "select answer from kept")).toEqual([42]);
});

test("the servers are set up for durability, for large payloads, and for those only who know the password", async () => {
  await using folder = await temporaryFolder();
  await using stack = await open(folder.path);
  const varz: unknown = await (await fetch(`${stack.natsMonitorUrl}/varz`)).json();
  expect(varz).toMatchObject({
    max_payload: 8_388_608,
    auth_required: true,
    jetstream: { config: { sync_always: true } },
  });
  expect((await fetch(`${stack.natsMonitorUrl}/healthz`)).status).toBe(200);
  await expect(connect({ servers: new URL(stack.natsUrl).host })).rejects.toThrow(/authorization/i);

  const settings =
    "select current_setting('fsync'), current_setting('listen_addresses'), current_setting('server_encoding')";
  expect(await query(stack, settings)).toEqual(["on", "127.0.0.1", "UTF8"]);
  const intruder = new URL(stack.databaseUrl);
  intruder.password = "guess";
  await expect(query({ databaseUrl: intruder.href }, "select 1")).rejects.toThrow("password authentication failed");
});

test("`relaxed` leaves syncing to NATS", async () => {
  await using folder = await temporaryFolder();
  await using stack = await open(folder.path, { durability: "relaxed", databaseUrl: "postgres://elsewhere/db" });
  const varz = (await (await fetch(`${stack.natsMonitorUrl}/varz`)).json()) as { jetstream: { config: object } };
  expect(varz.jetstream.config).not.toHaveProperty("sync_always");
  expect(varz.jetstream.config).toMatchObject({ sync_interval: 120_000_000_000 });
});

test("a second stack on the same data folder is refused, and leaves the first alone", async () => {
  await using folder = await temporaryFolder();
  await using stack = await open(folder.path, { databaseUrl: "postgres://elsewhere/db" });
  await expect(open(folder.path)).rejects.toThrow(`is in use by process ${process.pid}`);
  expect((await fetch(`${stack.natsMonitorUrl}/healthz`)).status).toBe(200);
});

test("servers that are killed come back at the same addresses with their data", async () => {
  await using folder = await temporaryFolder();
  await using stack = await open(folder.path);
  await append(stack);
  await query(stack, "create table kept as select 42 as answer");
  const killed = await pids(folder.path);
  for (const pid of killed) process.kill(pid, "SIGKILL");
  await until(async () => (await pids(folder.path)).every((pid) => !killed.includes(pid)), { what: "a restart" });
  expect(await eventually("NATS", () => messages(stack))).toBe(1);
  expect(await eventually("Postgres", () => query(stack, "select answer from kept"))).toEqual([42]);
});

test("after a process is killed, the next one finds its data and none of its servers", async () => {
  await using folder = await temporaryFolder();
  const child = spawn(process.execPath, [fileURLToPath(new URL("killed.ts", import.meta.url)), folder.path], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const [line] = (await once(createInterface(child.stdout), "line")) as [string];
  await query(JSON.parse(line) as Stack, "create table kept as select 42 as answer");
  const left = await pids(folder.path);
  child.kill("SIGKILL");
  await once(child, "exit");

  await using stack = await open(folder.path);
  await until(() => !left.some(isAlive), { what: "the servers to be gone" });
  expect(await query(stack, "select answer from kept")).toEqual([42]);
});

test("servers left behind on the data folder are stopped before new ones start", async () => {
  await using folder = await temporaryFolder();
  await (await open(folder.path))[Symbol.asyncDispose]();
  const data = join(folder.path, "postgres", "data");
  const postgres = {
    file: (await findPostgres()).postgres,
    // Without anything to listen on it would end by itself, and leave its pid file for a moment only.
    args: [
      "-D",
      data,
      "-c",
      "listen_addresses=127.0.0.1",
      "-c",
      `port=${await freePort()}`,
      "-c",
      "unix_socket_directories=",
    ],
  };
  const nobody = { uid: 65_534, gid: 65_534 };
  const orphans = [
    { file: join(folder.path, "bin", "nats-server"), args: ["-c", join(folder.path, "nats", "server.conf")] },
    process.getuid?.() === 0 ? await asUser(postgres, nobody, "SIGINT") : postgres,
  ].map(({ file, args }) => spawn(file, args, { stdio: "ignore" }));
  onTestFinished(() => orphans.forEach((orphan) => orphan.kill("SIGKILL")));
  const gone = Promise.all(orphans.map((orphan) => once(orphan, "exit")));
  await writeFile(join(folder.path, "nats", "server.pid"), `${orphans[0]?.pid}\n`);
  await eventually("Postgres", () => readFile(join(data, "postmaster.pid"), "utf8"));

  await using stack = await open(folder.path);
  await gone;
  expect(await query(stack, "select 1")).toEqual([1]);
});

test("a pid file that names a program of somebody else does not end it", async () => {
  await using folder = await temporaryFolder();
  const bystander = spawn("sleep", ["60"], { stdio: "ignore" });
  onTestFinished(() => void bystander.kill("SIGKILL"));
  await (await open(folder.path, { natsUrl: "nats://elsewhere:4222" }))[Symbol.asyncDispose]();
  await writeFile(join(folder.path, "postgres", "server.pid"), `${bystander.pid}\n`);
  await writeFile(join(folder.path, "postgres", "data", "postmaster.pid"), `${bystander.pid}\n`);
  await using stack = await open(folder.path, { natsUrl: "nats://elsewhere:4222" });
  expect(await query(stack, "select 1")).toEqual([1]);
  expect(bystander.kill(0)).toBe(true);
});

test("parts that are given are not started, and no folder is made when both are", async () => {
  await using folder = await temporaryFolder();
  const dataDir = join(folder.path, "data");
  const urls = { natsUrl: "nats://elsewhere:4222", databaseUrl: "postgres://elsewhere/db" };
  await using stack = await open(dataDir, urls);
  expect(stack).toMatchObject({ ...urls, dataDir, natsMonitorUrl: undefined });
  await expect(readFile(dataDir)).rejects.toThrow("ENOENT");
});

test("a part that cannot start ends the other, and gives the data folder back", async () => {
  await using folder = await temporaryFolder();
  const old = await script(join(folder.path, "nats-server"), 'echo "nats-server: v2.9.10"');
  const refused = open(folder.path, { env: { SIGNALBOX_NATS_SERVER: old } });
  await expect(refused).rejects.toThrow("is version 2.9.10, older than 2.11");
  await using stack = await open(folder.path, { natsUrl: "nats://elsewhere:4222" });
  expect(await query(stack, "select 1")).toEqual([1]);
});

test("an opening that is aborted starts nothing", async () => {
  await using folder = await temporaryFolder();
  const opening = open(folder.path, { signal: AbortSignal.abort(new Error("interrupted")) });
  await expect(opening).rejects.toThrow("interrupted");
  await expect(pids(folder.path)).rejects.toThrow("ENOENT");
});

test("a lost Postgres password is an error that says what to do", async () => {
  await using folder = await temporaryFolder();
  const options = { natsUrl: "nats://elsewhere:4222" };
  await (await open(folder.path, options))[Symbol.asyncDispose]();
  await rm(join(folder.path, "postgres", "password"));
  await expect(open(folder.path, options)).rejects.toThrow("the password of the embedded Postgres is missing");
});
