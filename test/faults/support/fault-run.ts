import { join } from "node:path";
import type { Event } from "../../../gen/signalbox/v1/event_pb.ts";
import { createSignalboxClient, type SignalboxClient } from "../../../src/client/client.ts";
import type { Operation } from "../../support/history.ts";
import { checkInvariants, describeViolations } from "../../support/invariants.ts";
import type { Substance } from "../../support/invariants/substance.ts";
import { openProcesses, type Process, type Processes } from "../../support/processes.ts";
import { followRecorded, type Subscriber, subscribeRecorded } from "../../support/recorded-subscription.ts";
import { until } from "../../support/until.ts";
import { gatherEvidence, readHistories } from "./evidence.ts";
import { type Load, startLoad } from "./load.ts";
import { narrowQueue } from "./new-run.ts";

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
  const workers = await Promise.all(
    Array.from({ length: workerCount }, (_, index) =>
      startWorker(processes, `worker-${index + 1}`, urls[index % urls.length] ?? ""),
    ),
  );
  // Before there is any run: what goes beyond these limits afterwards is wrong.
  await client.queues.putQueue({ queue: narrowQueue });
  const watching = new AbortController();
  opening.defer(() => watching.abort());
  let lostLeases = 0;
  const subscribers = startSubscribers(clients, watching.signal, (event) => {
    if (tellsOfLostLease(event)) lostLeases++;
  });
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
      const evidence = await gatherEvidence({ processes, clients, subscribers, leaseTtlMs, load, healedMs });
      return describeViolations(checkInvariants({ ...evidence, substance: { least, faults } }));
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
  onEvent: (event: Event) => void,
): Subscriber[] {
  const common = { clients, signal };
  return [
    subscribeRecorded({ ...common, name: "everything", wanted: {}, onEvent }),
    subscribeRecorded({ ...common, name: "room", wanted: { room_id: "room_a" } }),
    followRecorded({ ...common, name: "follower", wanted: { room_id: "room_b" } }),
  ];
}

/** True for an event that shows that a worker was given up. */
function tellsOfLostLease({ payload }: Event): boolean {
  return payload.case === "runLeaseExpired" || (payload.case === "runClaimed" && payload.value.lost !== undefined);
}
