import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { sweepOrphans } from "../../../src/artifacts/orphans.ts";
import { artifactAggregate } from "../../../src/artifacts/state.ts";
import { openBlobs } from "../../../src/cli/blobs.ts";
import { openKeys } from "../../../src/cli/keys.ts";
import { openStores } from "../../../src/cli/stores.ts";
import { createAggregates } from "../../../src/eventlog/aggregates.ts";
import { systemClock as clock } from "../../../src/kernel/clock.ts";
import { randomIds as ids } from "../../../src/kernel/ids.ts";
import { freePort } from "../../../src/stack/ports.ts";
import { checkInvariants, decodeLog, describeViolations } from "../../support/invariants.ts";
import { answers200, openProcesses, type Processes } from "../../support/processes.ts";
import { until } from "../../support/until.ts";
import { checkArtifacts } from "./artifact-invariants.ts";
import type { StoreFailpoint } from "./failing-artifacts.ts";
import type { Failpoint } from "./failing-store.ts";
import { readStoredLog } from "./stored-log.ts";

/** Where a process is to die; nowhere when neither is given. */
export interface Death {
  readonly inStore?: StoreFailpoint;
  readonly inLog?: Failpoint;
}

/** A process of the command line. Disposing it kills it. */
export interface Victim extends AsyncDisposable {
  readonly pid: number;
  /** Its exit code, or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>;
  /** Where it serves, if it does. */
  readonly url: string;
}

/** Real processes on real stores, whose files and keys the test looks at beside them. */
export interface ArtifactInstallation extends AsyncDisposable {
  readonly processes: Processes;
  /** The first server, which outlives the victims. */
  readonly url: string;
  /** Runs `signalbox` with these arguments until it is done or dead; `env` comes on top of what all servers are set to. */
  signalbox(args: readonly string[], death?: Death, env?: Readonly<Record<string, string>>): Victim;
  /** Starts one more server, of the role `server`, that is to die; returns once it is ready. */
  serve(death?: Death): Promise<Victim>;
  /** What is wrong as things are now, one line each; `swept` as checkArtifacts has it. */
  wrong(options?: { readonly swept?: boolean }): Promise<string>;
  /** Sweeps orphans without any grace. Nothing may be under way. */
  sweep(): Promise<void>;
  /** The names of all blobs, those of one workspace if it is given. */
  blobs(workspaceId?: string): Promise<string[]>;
}

const script = fileURLToPath(new URL("artifact-victim.ts", import.meta.url));
const log = pino({ level: "silent" });

/** Starts everything; its artifacts are files. */
export async function openArtifactInstallation(leaseTtlMs = 1_500): Promise<ArtifactInstallation> {
  await using opening = new AsyncDisposableStack();
  const processes = opening.use(await openProcesses({ leaseTtlMs }));
  const { env, folder, natsUrl, databaseUrl } = processes;
  const stores = opening.use(await openStores({ natsUrl, databaseUrl, replicas: 1, log }));
  const rootKey = Buffer.from(env["SIGNALBOX_ROOT_KEY"] ?? "", "base64");
  const none = { rootKeyFile: undefined, rootKeyCommand: undefined, rootKeyOld: undefined };
  const settings = { dataDir: folder, rootKey, ...none };
  const { ring: keys } = await openKeys({ stores, settings, replicas: 1, clock, ids, env: {} });
  const files = { kind: "filesystem", dir: env["SIGNALBOX_ARTIFACT_DIR"] ?? "" } as const;
  const blobs = opening.use(await openBlobs(files, { nats: stores.nats, prefix: "sb", replicas: 1, log }));
  const victims = opening.use(new AsyncDisposableStack());
  const open = opening.move();

  function signalbox(
    args: readonly string[],
    { inStore, inLog }: Death = {},
    own: Readonly<Record<string, string>> = {},
  ) {
    const failpoints = {
      ...(inStore && { STORE_FAILPOINT: JSON.stringify(inStore) }),
      ...(inLog && { FAILPOINT: JSON.stringify(inLog) }),
      NODE_COMPILE_CACHE: join(folder, "compiled"),
      SIGNALBOX_LOG_LEVEL: process.env["TEST_LOG"] ?? "error",
    };
    const child = spawn(process.execPath, [script, ...args], {
      cwd: folder,
      env: { ...process.env, ...env, ...own, ...failpoints },
      stdio: ["pipe", "ignore", "inherit"],
    });
    const exited = once(child, "exit").then(([code, signal]) => (signal ?? code) as number | NodeJS.Signals);
    const dispose = async () => {
      child.kill("SIGKILL");
      await exited;
    };
    return victims.use({ pid: child.pid ?? 0, exited, url: "", [Symbol.asyncDispose]: dispose });
  }

  return {
    processes,
    url: processes.servers[0]?.url ?? "",
    signalbox,
    async serve(death) {
      const port = await freePort();
      const url = `http://127.0.0.1:${port}`;
      const victim = signalbox(["serve"], death, { SIGNALBOX_PORT: String(port), SIGNALBOX_ROLES: "server" });
      const isReady = () => answers200(`${url}/readyz`);
      await until(isReady, { what: "a victim to serve", timeoutMs: 30_000, intervalMs: 25 });
      return { ...victim, url };
    },
    async wrong(options) {
      // Our own connection may not be back yet when a server's is.
      const read = () => readStoredLog(stores.nats).catch(() => undefined);
      const stored = await until(read, { what: "the log to be read", timeoutMs: 30_000 });
      const broken = checkInvariants({ log: stored, operations: [] });
      return describeViolations([...broken, ...(await checkArtifacts(decodeLog(stored), { blobs, keys }, options))]);
    },
    async sweep() {
      const aggregates = createAggregates(artifactAggregate, { log: stores.log, clock, ids });
      const { db } = stores.postgres;
      const deps = { aggregates, blobs, keys, db, clock, orphanGraceMs: 0, log };
      await sweepOrphans(deps, new AbortController().signal);
    },
    blobs: async (workspaceId = "") =>
      (await Array.fromAsync(blobs.list())).map(({ name }) => name).filter((name) => name.startsWith(workspaceId)),
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}
