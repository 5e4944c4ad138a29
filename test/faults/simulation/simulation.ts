import { sleep } from "../../../src/kernel/wait.ts";
import { createRecorder, type Operation } from "../../support/history.ts";
import type { Evidence } from "../../support/invariants.ts";
import { createSeeded, type Seeded } from "../../support/seeded.ts";
import { inVirtualTime } from "../../support/virtual-time.ts";
import { reasonOf } from "./calls.ts";
import { actAsClient } from "./client.ts";
import { isOpen } from "./read-model.ts";
import { type Mutant, type SimulatedServer, startServer } from "./server.ts";
import type { Stage } from "./stage.ts";
import { actAsWorker } from "./worker.ts";
import { createWorld } from "./world.ts";

/** Virtual milliseconds that a lease holds, that things go wrong, and after which nobody waits any longer. */
const leaseTtlMs = 500;
const troubleMs = 2_000;
const giveUpMs = 20_000;

const servers = 2;
const clients = ["client-1", "client-2", "client-3"];
const workers = ["worker-1", "worker-2", "worker-3"];

/**
 * A short history of a small installation with everything that can go wrong: servers that share a log and a queue, clients
 * and workers, in an order that the seed decides. The same seed gives the same history.
 */
export function simulate(seed: number, mutant: Mutant = {}): Promise<Evidence> {
  return inVirtualTime((nowMs) => play(createSeeded(seed), nowMs, mutant));
}

async function play(random: Seeded, nowMs: () => number, mutant: Mutant): Promise<Evidence> {
  const inTrouble = () => nowMs() < troubleMs;
  const world = createWorld({ random, nowMs, inTrouble, leaseTtlMs, mutant });
  const { queue, runs, readLog } = world;
  const running = Array.from({ length: servers }, () => startServer(world));
  const operations: Operation[] = [];
  let over = false;
  const stage: Stage = {
    random,
    leaseTtlMs,
    server: () => random.pick(running),
    recorder: createRecorders(operations),
    inTrouble,
    isOver: () => over,
  };
  const crashServer = () => {
    const index = random.below(servers);
    running[index]?.crash();
    running[index] = startServer(world);
  };
  const others = Promise.all([
    ...workers.map((name) => actAsWorker(stage, name)),
    sweep(stage),
    causeTrouble(stage, crashServer, queue.forget),
  ]);
  // The others end later, unless something went wrong with them.
  await Promise.race([Promise.all(clients.map((name) => actAsClient(stage, name))), others]);
  // Whoever dawdles when the trouble ends comes back within two lease times.
  const healedMs = Math.max(nowMs(), troubleMs + 2 * leaseTtlMs);
  const isQuiet = async () =>
    !inTrouble() && (await queue.jobs.count()) === 0 && !(await runs()).some(({ run }) => isOpen(run));
  while (nowMs() < giveUpMs && !(await isQuiet())) await sleep(25);
  const tookMs = Math.max(nowMs() - healedMs, 0);
  over = true;
  await others;
  const log = await readLog(0n);
  const settled = { tookMs, settleTimeMs: nowMs() };
  const healed = { leaseTtlMs, ...settled, pendingJobs: await queue.jobs.count(), unwell: [] };
  return { log, operations, healed: { ...healed, projectedPosition: BigInt(log.length) } };
}

/** Recorders of any number of callers, with a clock that counts: what is called later has a higher time. */
function createRecorders(operations: Operation[]): Stage["recorder"] {
  let ticks = 0;
  const write = (operation: Operation) => void operations.push(operation);
  return (caller) => createRecorder({ caller, write, reasonOf, now: () => ++ticks });
}

/** The reactors of some server: they make the jobs and end what is overdue or silent. */
async function sweep(stage: Stage): Promise<void> {
  const { signal } = new AbortController();
  const listening = new WeakSet<SimulatedServer>();
  while (!stage.isOver()) {
    const server = stage.server();
    if (!listening.has(server)) server.reconciler.listen();
    listening.add(server);
    // What fails is done in the next sweep; what was done wrong shows in the log.
    await server.answer(server.reconciler.sweep(signal)).catch(() => undefined);
    await sleep(40);
  }
}

async function causeTrouble(
  { random, inTrouble }: Stage,
  crashServer: () => void,
  forgetJobs: () => void,
): Promise<void> {
  for (;;) {
    await sleep(random.below(500));
    if (!inTrouble()) return;
    if (random.oneIn(2)) crashServer();
    if (random.oneIn(4)) forgetJobs();
  }
}
