import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { findNatsServer } from "../../src/stack/nats-binary.ts";
import { freePort } from "../../src/stack/ports.ts";
import { dyingWithUs } from "../../src/stack/setpriv.ts";
import { answers200, createProcess, type Process, program } from "./processes.ts";

/** Three NATS servers that replicate to each other. Disposing it leaves nothing behind. */
export interface NatsCluster extends AsyncDisposable {
  /** The addresses of all three. */
  readonly url: string;
  readonly nodes: readonly Process[];
}

/** Starts the cluster in a new folder; every node stores on disk before it acknowledges. */
export async function openNatsCluster(): Promise<NatsCluster> {
  await using opening = new AsyncDisposableStack();
  const { path: folder } = opening.use(await mkdtempDisposable(join(tmpdir(), "signalbox-cluster-")));
  const log = pino({ level: "silent" });
  const { path: file } = await findNatsServer({ env: process.env, binDir: join(folder, "bin"), log });
  const ports: { client: number; route: number; monitor: number }[] = [];
  for (let index = 0; index < 3; index++) {
    ports.push({ client: await freePort(), route: await freePort(), monitor: await freePort() });
  }
  const routes = ports.map(({ route }) => `nats://127.0.0.1:${route}`).join(", ");
  const nodes: Process[] = [];
  for (const [index, { client, route, monitor }] of ports.entries()) {
    const name = `node-${index + 1}`;
    const config = join(folder, `${name}.conf`);
    await writeFile(
      config,
      `server_name: ${name}
listen: "127.0.0.1:${client}"
http: "127.0.0.1:${monitor}"
jetstream { store_dir: ${JSON.stringify(join(folder, name))}, sync_interval: always }
max_payload: 8MB
cluster { name: signalbox, listen: "127.0.0.1:${route}", routes: [${routes}] }
`,
    );
    const command = await dyingWithUs({ file, args: ["-c", config] }, "SIGKILL");
    const isReady = () => answers200(`http://127.0.0.1:${monitor}/healthz`);
    nodes.push(opening.use(createProcess({ ...program(folder, name, command), isReady })));
  }
  await Promise.all(nodes.map((node) => node.start()));
  const open = opening.move();
  const url = ports.map(({ client }) => `nats://127.0.0.1:${client}`).join(",");
  return { url, nodes, [Symbol.asyncDispose]: () => open.disposeAsync() };
}
