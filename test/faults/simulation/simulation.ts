import { createMemoryStore, type PublishFault } from "../../../src/eventlog/memory-store.ts";
import { createLeaseTokens } from "../../../src/jobs/lease-token.ts";
import type { IdSource } from "../../../src/kernel/ids.ts";
import { sleep } from "../../../src/kernel/wait.ts";
import { createRecorder, type Operation } from "../../support/history.ts";
import type { Evidence } from "../../support/invariants.ts";
import { reasonOf } from "./calls.ts";
import { createSeeded, type Seeded } from "../../support/seeded.ts";
import { inVirtualTime } from "../../support/virtual-time.ts";
import { actAsClient } from "./client.ts";
import { createSimulatedQueue } from "./queue.ts";
import { createRunTable, createSimulatedPostgres, isOpen } from "./read-model.ts";
import { type Mutant, type SimulatedServer, startServer, type World } from "./server.ts";
import { actAsWorker } from "./worker.ts";

/** Virtual milliseconds that a lease holds, that things go wrong, and after which nobody waits any longer. */
const leaseTtlMs = 500;
const troubleMs = 2_000;
const giveUpMs = 20_000;
const serverCount = 2;
const clientCount = 3;
const workerCount = 3;

/** What the actors of a simulation work with. */
export interface Stage {
  readonly random: Seeded;
  /** One of the servers, as it is now. */
  server(): SimulatedServer;
  recorder(caller: string): ReturnType<typeof createRecorder>;
  /** True while workers dawdle and vanish, servers crash, and the broker misbehaves. */
  inTrouble(): boolean;
  /** True when everything is done, or nobody waits any longer. */
  isOver(): boolean;
  readonly leaseTtlMs: number;
}

/**
 * A short history of a small installation with everything that can go wrong: servers that share a log and a queue, clients
 * and workers, in an order that the seed decides. The same seed gives the same history.
 */
export function simulate(seed: number, mutant: Mutant = {}): Promise<Evidence> {
  return inVirtualTime((nowMs) => play(createSeeded(seed), nowMs, mutant));
}

async function play(random: Seeded, nowMs: () => number, mutant: Mutant): Promise<Evidence> {
  const inTrouble = () => nowMs() < troubleMs;
  const store = troubledStore(random, inTrouble);
  const readLog = (after: bigint) => store.batch(">", after, Number.MAX_SAFE_INTEGER);
  const runs = createRunTable(readLog);
  const queue = createSimulatedQueue({ random, nowMs, leaseTtlMs, misbehaves: inTrouble });
  const world: World = {
    store: mutant.store?.(store) ?? store,
    queue,
    postgres: createSimulatedPostgres(runs, () => epochMs + nowMs()),
    tokens: createLeaseTokens(new Uint8Array(32)),
    clock: { now: () => new Date(epochMs + nowMs()) },
    ids: countedIds(),
    random,
    leaseTtlMs,
    mutant,
  };
  const servers = Array.from({ length: serverCount }, () => startServer(world));
  const operations: Operation[] = [];
  const write = (operation: Operation) => operations.push(operation);
  let over = false;
  let ticks = 0;
  const stage: Stage = {
    random,
    server: () => random.pick(servers),
    recorder: (caller) => createRecorder({ caller, write, reasonOf, now: () => ++ticks }),
    inTrouble,
    isOver: () => over,
    leaseTtlMs,
  };
  const supporting = [...start(workerCount, (name) => actAsWorker(stage, `worker-${name}`)), sweep(stage)];
  supporting.push(causeTrouble(stage, { restart: (index) => servers.splice(index, 1, startServer(world)), servers, queue }));
  await Promise.all(start(clientCount, (name) => actAsClient(stage, `client-${name}`)));
  // Whoever dawdles when the trouble ends comes back within two lease times.
  const healedMs = Math.max(nowMs(), troubleMs + 2 * leaseTtlMs);
  const isQuiet = async () =>
    !inTrouble() && (await queue.jobs.count()) === 0 && !(await runs()).some(({ run }) => isOpen(run));
  while (nowMs() < giveUpMs && !(await isQuiet())) await sleep(25);
  const tookMs = Math.max(nowMs() - healedMs, 0);
  over = true;
  await Promise.all(supporting);
  const log = await readLog(0n);
  const pendingJobs = await queue.jobs.count();
  return { log, operations, healed: { leaseTtlMs, tookMs, pendingJobs, projectedPosition: BigInt(log.length), unwell: [] } };
}

const epochMs = Date.UTC(2026, 0, 1);

/** The reactors of some server: they make the jobs and end what is overdue or silent. */
async function sweep(stage: Stage): Promise<void> {
  let listening: SimulatedServer | undefined;
  while (!stage.isOver()) {
    const server = stage.server();
    if (server !== listening) server.reconciler.listen();
    listening = server;
    // What fails is done in the next sweep; a violation would show in the log.
    await server.answer(server.reconciler.sweep(new AbortController().signal)).catch(() => undefined);
    await sleep(40);
  }
}

async function causeTrouble(
  { random, inTrouble }: Stage,
  crashServer: () => void,
  forgetJobs: () => void,
): Promise<void> {
  while (inTrouble()) {
    await sleep(random.below(500));
    if (!inTrouble()) return;
    if (random.oneIn(2)) crashServer();
    if (random.oneIn(4)) forgetJobs();
  }
}

/** Ids that are the same in each repetition. */
function countedIds(): IdSource {
  let count = 0;
  return {
    next: (prefix) => `${prefix}_${String(++count).padStart(26, "0")}`,
    uuid: () => `00000000-0000-4000-8000-${String(++count).padStart(12, "0")}`,
  };
}
