import { mkdir, statfs, writeFile } from "node:fs/promises";
import { get } from "node:http";
import { join } from "node:path";
import type { Program } from "./child.ts";
import { findNatsServer } from "./nats-binary.ts";
import { stopOrphan } from "./orphan.ts";
import { createSecret, readSecret } from "./secret.ts";
import { dyingWithUs } from "./setpriv.ts";
import { type Supervision, supervise } from "./supervisor.ts";

/** How to run the embedded NATS. */
export interface NatsOptions {
  /** The data folder; its lock is held by the caller. */
  dataDir: string;
  /** `fsync`: every write is on disk before it is acknowledged. `relaxed`: NATS writes through every 2 minutes. */
  durability: "fsync" | "relaxed";
  /** Port for clients. */
  port: number;
  /** Port for monitoring over HTTP. */
  monitorPort: number;
  /** Read for SIGNALBOX_NATS_SERVER and PATH. */
  env: NodeJS.ProcessEnv;
}

/** A NATS server with JetStream on 127.0.0.1 that runs until it is disposed. */
export interface NatsServer extends AsyncDisposable {
  /** With user and password. */
  readonly url: string;
  /** Without a trailing slash; `/healthz` below it says whether JetStream is well. */
  readonly monitorUrl: string;
}

const user = "signalbox";

/**
 * Starts the embedded NATS and supervises it: a server that dies comes back on the same port with the same data.
 * @throws StackError when there is no usable nats-server or it does not start.
 */
export async function openNatsServer(options: NatsOptions, supervision: Supervision): Promise<NatsServer> {
  const folder = join(options.dataDir, "nats");
  const configFile = join(folder, "server.conf");
  const pidFile = join(folder, "server.pid");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const stopping = { name: "nats-server", pidFile, stopSignal: "SIGTERM", stopTimeoutMs: 10_000 } as const;
  await stopOrphan({ ...stopping, argument: configFile }, supervision.log);

  const binary = await findNatsServer({
    env: options.env,
    binDir: join(options.dataDir, "bin"),
    log: supervision.log,
  });
  const passwordFile = join(folder, "password");
  const password = (await readSecret(passwordFile)) ?? (await createSecret(passwordFile));
  await writeFile(configFile, await configuration(options, folder, password), { mode: 0o600 });
  supervision.log.info({ path: binary.path, version: binary.version }, "starting the embedded NATS");
  const monitorUrl = `http://127.0.0.1:${options.monitorPort}`;
  const program: Program = {
    ...stopping,
    command: await dyingWithUs({ file: binary.path, args: ["-c", configFile] }, stopping.stopSignal),
    cwd: folder,
    logFile: join(options.dataDir, "log", "nats-server.log"),
    startTimeoutMs: 60_000,
    isReady: () => isHealthy(monitorUrl),
  };
  const running = await supervise(program, supervision);
  return {
    url: `nats://${user}:${password}@127.0.0.1:${options.port}`,
    monitorUrl,
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

async function configuration(options: NatsOptions, folder: string, password: string): Promise<string> {
  const { blocks, bsize } = await statfs(folder);
  return `# Written by signalbox at every start; changes are lost.
server_name: "signalbox"
listen: "127.0.0.1:${options.port}"
http: "127.0.0.1:${options.monitorPort}"
max_payload: ${8 * 1024 * 1024}
write_deadline: "10s"
authorization { user: "${user}", password: "${password}" }
jetstream {
  store_dir: ${JSON.stringify(folder)}
  max_memory_store: ${1024 ** 3}
  # The size of the disk: what is free on it is the only limit.
  max_file_store: ${blocks * bsize}
  sync_interval: "${options.durability === "fsync" ? "always" : "2m"}"
}
`;
}

/** True when the server's `/healthz` answers 200: it takes clients and JetStream has recovered its streams. */
function isHealthy(monitorUrl: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get(`${monitorUrl}/healthz`, { agent: false, timeout: 1_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(false));
  });
}
