import { randomBytes } from "node:crypto";
import { type Role, serve, type ServeOptions, type Serving } from "../../src/cli/serve.ts";
import { type ClientOptions, createSignalboxClient, type SignalboxClient } from "../../src/client/client.ts";
import { builtInHandlers, createWorker, type Worker, type WorkerOptions } from "../../src/engine/worker.ts";
import { artifactOptions } from "./artifact-options.ts";
import { openTestBackend, type TestBackend } from "./backend.ts";

/** What a test wants of an installation. */
export interface InstallationOptions extends Partial<
  Pick<
    ServeOptions,
    | "auth"
    | "allowedOrigins"
    | "limits"
    | "artifacts"
    | "leaseTtlMs"
    | "heartbeatMs"
    | "drainTimeoutMs"
    | "natsUrl"
    | "replicas"
    | "embeddings"
  >
> {
  /** Processes that serve, each on a port of its own; default 1. All play every role. */
  readonly servers?: number;
  /** Workers with the built-in handlers for the default workspace; default 0. */
  readonly workers?: number;
}

/** One serving process of an installation. */
export interface TestServer extends AsyncDisposable {
  /** The same after a restart. */
  readonly url: string;
  /** Drains and closes it; what its clients have open ends. Doing it twice is fine. */
  stop(): Promise<void>;
  /** Serves again, on the same port; plays every role unless told otherwise. */
  start(roles?: ReadonlySet<Role>): Promise<void>;
}

/** A whole Signalbox on stores of its own. Disposing it closes its clients and servers and removes what it stored. */
export interface Installation extends AsyncDisposable {
  readonly backend: TestBackend;
  readonly servers: readonly TestServer[];
  /** Of the first server. */
  readonly url: string;
  /** A client of the first server unless `baseUrl` names another one; closed with the installation. */
  client(options?: ClientOptions): SignalboxClient;
  /** A worker that runs until it is disposed, at the latest with the installation. It has the built-in handlers unless told otherwise. */
  worker(options?: Partial<WorkerOptions>): Worker;
}

const roles: ReadonlySet<Role> = new Set(["server", "projector", "reactors"]);

/** Migrates, serves, and returns once it answers. Leases hold 30 s unless told otherwise. */
export async function openInstallation(options: InstallationOptions = {}): Promise<Installation> {
  const { servers: serverCount = 1, workers: workerCount = 0, ...rest } = options;
  await using opening = new AsyncDisposableStack();
  const backend = opening.use(await openTestBackend());
  const serveOptions: ServeOptions = {
    natsUrl: backend.natsUrl,
    databaseUrl: backend.databaseUrl,
    prefix: backend.prefix,
    schema: backend.schema,
    replicas: 1,
    log: backend.logger,
    roles,
    host: "127.0.0.1",
    port: 0,
    auth: { mode: "none" },
    allowedOrigins: [],
    reflection: true,
    secret: randomBytes(32),
    limits: { maxInputBytes: 1024 * 1024, maxOutputBytes: 1024 * 1024 },
    artifacts: artifactOptions(randomBytes(32)),
    leaseTtlMs: 30_000,
    drainTimeoutMs: 2_000,
    ...rest,
  };
  const servers: TestServer[] = [];
  for (let i = 0; i < serverCount; i++) servers.push(opening.use(await openServer(serveOptions)));
  const [{ url } = { url: "" }] = servers;
  const clients = opening.use(new DisposableStack());
  const workers = opening.use(new AsyncDisposableStack());
  const open = opening.move();
  const installation: Installation = {
    backend,
    servers,
    url,
    client: (own = {}) => clients.use(createSignalboxClient(own.transport ? own : { baseUrl: url, ...own })),
    worker(own = {}) {
      const worker = createWorker({ baseUrl: url, handlers: builtInHandlers, ...own });
      const running = worker.run();
      workers.defer(() => running);
      return workers.use(worker);
    },
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
  for (let i = 0; i < workerCount; i++) installation.worker();
  return installation;
}

async function openServer(options: ServeOptions): Promise<TestServer> {
  let serving: Serving | undefined = await serve(options);
  const url = serving.url ?? "";
  async function stop(): Promise<void> {
    const stopping = serving;
    serving = undefined;
    await stopping?.[Symbol.asyncDispose]();
  }
  return {
    url,
    stop,
    async start(playing = roles) {
      serving ??= await serve({ ...options, roles: playing, port: Number(new URL(url).port) });
    },
    [Symbol.asyncDispose]: stop,
  };
}

/** The id of a workspace that no other test uses: tests share an installation and stay apart. */
export function newWorkspaceId(): string {
  return `ws_${randomBytes(8).toString("hex")}`;
}
