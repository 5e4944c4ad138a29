import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import { allProjections } from "../../../src/cli/serve.ts";
import { openStores, type Stores } from "../../../src/cli/stores.ts";
import { createSignalboxClient, RunStatus, type SignalboxClient } from "../../../src/client/client.ts";
import { verify } from "../../../src/readmodel/verify.ts";
import { type Operation, readJsonLines } from "../../support/history.ts";
import { checkInvariants, decodeLog, describeViolations } from "../../support/invariants.ts";
import { type Healed, settlingLeases } from "../../support/invariants/health.ts";
import { checkRecordings } from "../../support/invariants/recordings.ts";
import type { Substance } from "../../support/invariants/substance.ts";
import { answers200, openProcesses, type Process, type Processes } from "../../support/processes.ts";
import {
  followRecorded,
  pollRecorded,
  type Recording,
  type Subscriber,
  subscribeRecorded,
} from "../../support/recorded-subscription.ts";
import { until } from "../../support/until.ts";
import { type Load, startLoad, tellsOfLostLease } from "./load.ts";
import { readStoredLog } from "./stored-log.ts";

/** What a fault run is made of. */
export interface FaultRunOptions {
  readonly leaseTtlMs: number;
  /** Default 1. */
  readonly servers?: number;
  /** Each works for one server, in turns; default 2. */
  readonly workers?: number;
}

/** A fault: whom it hits, how, and how the installation is seen to feel it. */
export interface Fault {
  readonly name: string;
  readonly victims: readonly Process[];
  /** `kill` is SIGKILL and another start, `suspend` SIGSTOP and SIGCONT. */
  readonly how: "kill" | "suspend";
  readonly felt: () => boolean | Promise<boolean>;
}

/** An installation of real processes with subscribers, to be put under load and hurt. */
export interface FaultRun extends AsyncDisposable {
  readonly processes: Processes;
  readonly workers: readonly Process[];
  /** A client of the first server; its calls are not on record. */
  readonly client: SignalboxClient;
  /** How many events have told so far that a worker was given up. */
  lostLeases(): number;
  /** Puts clients to work on all servers. */
  load(name: string, clients: number, seed: number): Load;
  /** Kills or suspends the victims, waits until that is felt, and starts or continues them. */
  strike(fault: Fault): Promise<void>;
  /** Ends the load, waits until everything is quiet, and returns what is wrong, one line each; empty when all is well. */
  conclude(least: Substance["least"], load?: Load): Promise<string>;
  /** What clients and workers have done so far. */
  operations(): Promise<Operation[]>;
}

const log = pino({ level: "silent" });

/** Starts everything; nothing happens yet. */
export async function openFaultRun(options: FaultRunOptions): Promise<FaultRun> {
  const { leaseTtlMs, servers = 1, workers: workerCount = 2 } = options;
  await using opening = new AsyncDisposableStack();
  const processes = opening.use(await openProcesses({ leaseTtlMs, servers }));
  const { folder } = processes;
  const urls = processes.servers.map(({ url }) => url);
  const clients = urls.map((baseUrl) => opening.use(createSignalboxClient({ baseUrl })));
  const [client] = clients;
  if (client === undefined) throw new RangeError("a fault run needs a server");
  const workers: Process[] = [];
  for (let index = 0; index < workerCount; index++) {
    workers.push(await startWorker(processes, `worker-${index + 1}`, urls[index % urls.length] ?? ""));
  }
  const watching = new AbortController();
  let lostLeases = 0;
  const subscribers = startSubscribers(clients, watching.signal, (lost) => (lostLeases += lost));
  opening.defer(() => watching.abort());
  const loads = opening.use(new AsyncDisposableStack());
  const faults: Record<string, number> = {};
  let healedMs = performance.now();
  const open = opening.move();
  return {
    processes,
    workers,
    client,
    lostLeases: () => lostLeases,
    load: (name, count, seed) => loads.use(startLoad({ urls, folder, name, clients: count, seed })),
    async strike({ name, victims, how, felt }) {
      const fault = `${how} ${name}`;
      faults[fault] ??= 0;
      await Promise.all(victims.map(how === "kill" ? kill : suspend));
      await until(felt, { what: `${fault} to be felt`, timeoutMs: 20_000, intervalMs: 25 });
      faults[fault]++;
      await Promise.all(victims.map(how === "kill" ? start : resume));
      healedMs = performance.now();
    },
    operations: () => readHistories(folder),
    async conclude(least, load) {
      const { natsUrl, databaseUrl } = processes;
      await using stores = await openStores({ natsUrl, databaseUrl, replicas: 1, log });
      const settled = await settle(load, { stores, client, urls, leaseTtlMs });
      const stored = await readStoredLog(stores.nats);
      const healed: Healed = { ...settled, leaseTtlMs, tookMs: settled.quietMs - healedMs };
      const poll = await pollRecorded({ name: "poller", clients, wanted: {}, signal: AbortSignal.timeout(20_000) });
      const violations = checkInvariants({
        log: stored,
        operations: await readHistories(folder),
        recordings: [...(await caughtUp(subscribers, stored)), poll],
        readModels: await verify({ postgres: stores.postgres, log: stores.log, projections: allProjections }),
        healed,
        substance: { least, faults },
      });
      return describeViolations(violations);
    },
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

const kill = (victim: Process) => victim.kill();
const start = (victim: Process) => victim.start();
const suspend = async (victim: Process) => victim.suspend();
const resume = async (victim: Process) => victim.resume();

function startWorker(processes: Processes, name: string, url: string): Promise<Process> {
  return processes.run(name, new URL("worker.ts", import.meta.url), {
    SIGNALBOX_URL: url,
    HISTORY_FILE: join(processes.folder, `${name}.jsonl`),
    WORKER_NAME: name,
  });
}

function startSubscribers(
  clients: readonly SignalboxClient[],
  signal: AbortSignal,
  onLost: (lost: number) => void,
): Subscriber[] {
  const common = { clients, signal };
  return [
    subscribeRecorded({
      ...common,
      name: "everything",
      wanted: {},
      onEvent: (event) => onLost(tellsOfLostLease(event) ? 1 : 0),
    }),
    subscribeRecorded({ ...common, name: "room", wanted: { room_id: "room_a" } }),
    followRecorded({ ...common, name: "follower", wanted: { room_id: "room_b" } }),
  ];
}

interface Settling {
  readonly stores: Stores;
  readonly client: SignalboxClient;
  readonly urls: readonly string[];
  readonly leaseTtlMs: number;
}

/** Ends the load and waits for quiet, at most twice as long as the installation may take; then says how things stand. */
async function settle(load: Load | undefined, { stores, client, urls, leaseTtlMs }: Settling) {
  let stopped = false;
  const stopping = (load?.stop() ?? Promise.resolve()).then(() => (stopped = true));
  const look = async () => {
    const { head } = await stores.log.bounds();
    const [{ state }, projectedPosition, well] = await Promise.all([
      stores.nats.jsm.streams.info("JOBS"),
      readCheckpoint(stores),
      Promise.all(urls.map((url) => answers200(`${url}/readyz`))),
    ]);
    const unwell = urls.filter((_, index) => !well[index]);
    return { head, pendingJobs: state.messages, projectedPosition, unwell, quietMs: performance.now() };
  };
  const isQuiet = async () => {
    const seen = await look();
    if (!stopped || seen.pendingJobs > 0 || seen.projectedPosition !== seen.head || seen.unwell.length > 0) return;
    const { runs } = await client.runs.listRuns({ statuses: [RunStatus.QUEUED, RunStatus.RUNNING], pageSize: 1 });
    return runs.length === 0 ? seen : undefined;
  };
  const timeoutMs = 2 * settlingLeases * leaseTtlMs;
  const quiet = until(isQuiet, { what: "quiet", timeoutMs, intervalMs: 25 });
  // What is wrong then is for the checker to say, with names.
  const seen = await Promise.race([quiet.catch(look), stopping.then(() => quiet.catch(look))]);
  if (stopped) await stopping;
  return seen;
}

async function readCheckpoint({ postgres }: Stores): Promise<bigint> {
  const text = "select position from checkpoints where name = 'projector'";
  const { rows } = await postgres.db.query<{ position: bigint }>({ name: "checkpoint_read", text });
  return rows[0]?.position ?? 0n;
}

async function readHistories(folder: string): Promise<Operation[]> {
  const files = (await readdir(folder)).filter((name) => name.endsWith(".jsonl"));
  return files.flatMap((name) => readJsonLines<Operation>(join(folder, name)));
}

/** The recordings once they have everything, or as they are after a while. */
async function caughtUp(subscribers: readonly Subscriber[], stored: Parameters<typeof decodeLog>[0]): Promise<Recording[]> {
  const events = decodeLog(stored);
  const recordings = subscribers.map(({ recording }) => recording);
  const complete = () => checkRecordings(events, recordings).length === 0;
  // An incomplete one is for the checker to report.
  await until(complete, { what: "the subscribers", timeoutMs: 5_000, intervalMs: 50 }).catch(() => undefined);
  // What comes while the checker is at work is not in its log.
  return recordings.map((recording) => ({ ...recording, notes: [...recording.notes] }));
}
