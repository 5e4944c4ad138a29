import { existsSync } from "node:fs";
import type { ClientsProcess } from "./processes/clients.ts";
import type { WorkerProcess } from "./processes/worker.ts";
import { type Figure, figureOf } from "./report/figure.ts";
import { type Backend, openBackend } from "./support/backend.ts";
import type { Bench, Benchmark } from "./support/bench.ts";
import { processModule, settle, startServer } from "./support/installation.ts";
import type { Load } from "./support/load.ts";
import { type Remote, startProcess } from "./support/remote.ts";
import { inTurns, type Sample, type Samples, values } from "./support/rounds.ts";

const concurrency = 32;
const runsPerSecond = 500;
const idleRunsPerSecond = 50;
const rounds = 3;

/** The kinds of work: a run that does nothing, and one that records ten steps. */
const works = ["echo", "steps"] as const;
type Work = (typeof works)[number];
const workNames: Record<Work, string> = { echo: "echo", steps: "10 steps" };

/** The ways to work of Signalbox, each with a queue of its own. */
const shapes = [
  { name: "1 worker, unary", queue: "unary-1", transport: "unary", workers: 1 },
  { name: "1 worker, stream", queue: "stream-1", transport: "stream", workers: 1 },
  { name: "4 workers, unary", queue: "unary-4", transport: "unary", workers: 4 },
  { name: "4 workers, stream", queue: "stream-4", transport: "stream", workers: 4 },
] as const;

/** Others that do the same on this machine, each with every write on disk before it counts. */
const peers = [
  { module: "pg-boss", name: "pg-boss 12.30" },
  { module: "dbos", name: "DBOS 5.3, no worker" },
  { module: "restate", name: "Restate 1.7" },
] as const;

/** What each peer's process does. */
type PeerProcess = {
  open(options: { databaseUrl: string; workers: number; concurrency: number }): Promise<void>;
  one(options: { work: Work; count: number }): Promise<Load>;
  many(options: { work: Work; count: number; concurrency: number }): Promise<number>;
};

/** One that is measured: one run after the other, and many at a time. */
interface Contender {
  readonly name: string;
  one(work: Work, count: number): Promise<Load>;
  many(work: Work, count: number): Promise<number>;
}

/** How long runs take from creation to end with real workers, beside what others need for the same. */
export const engine: Benchmark = {
  name: "engine",
  summary: "runs with and without steps, by transport and number of workers, beside pg-boss, DBOS and Restate",
  async run(bench) {
    await using stack = new AsyncDisposableStack();
    bench.progress("engine: starting");
    const backend = stack.use(await openBackend(bench.signal));
    const ours = await startProduct(backend, stack);
    const others = await startPeers(bench, stack);
    const figures: Figure[] = [];
    for (const work of works) {
      figures.push(...latencies(work, await measureLatency(bench, work, [...ours, ...others]), ours, others));
      figures.push(...rates(work, await measureRate(bench, work, [...ours, ...others]), ours, others));
    }
    return figures;
  },
};

async function startProduct(backend: Backend, stack: AsyncDisposableStack): Promise<Contender[]> {
  const { url } = await startServer(backend, ["server", "projector", "reactors"], stack);
  for (const { queue, transport, workers } of shapes) {
    for (let number = 1; number <= workers; number++) {
      const worker = stack.use(await startProcess<WorkerProcess>(processModule("worker")));
      await worker.call("open", { url, concurrency, queue, transport });
    }
  }
  const clients = stack.use(await startProcess<ClientsProcess>(processModule("clients")));
  return shapes.map(({ name, queue }) => ({
    name,
    one: (handler, count) => clients.call("runOneByOne", { url, handler, queue, count }),
    many: async (handler, count) => {
      const perSecond = await clients.call("runMany", { url, handler, queue, count, concurrency });
      await settle(url);
      return perSecond;
    },
  }));
}

/** The peers that are installed, each with a Postgres of its own where it needs one. */
async function startPeers(bench: Bench, stack: AsyncDisposableStack): Promise<Contender[]> {
  if (!existsSync(new URL("peers/node_modules/", import.meta.url))) {
    bench.progress("engine: the peers are not installed and left out; `npm ci --prefix bench/peers` installs them");
    return [];
  }
  const contenders: Contender[] = [];
  for (const { module, name } of peers) {
    const { databaseUrl } = stack.use(await openBackend(bench.signal));
    const peer: Remote<PeerProcess> = stack.use(
      await startProcess<PeerProcess>(new URL(`peers/${module}.mjs`, import.meta.url)),
    );
    await peer.call("open", { databaseUrl, workers: 1, concurrency });
    contenders.push({
      name,
      one: (work, count) => peer.call("one", { work, count }),
      many: (work, count) => peer.call("many", { work, count, concurrency }),
    });
  }
  return contenders;
}

function measureLatency(bench: Bench, work: Work, contenders: readonly Contender[]): Promise<Samples<string>> {
  const count = Math.ceil(bench.seconds * idleRunsPerSecond);
  const sides = sidesOf(contenders, async ({ one }) => ({ ...(await one(work, count)) }));
  return inTurns(bench, `engine, ${workNames[work]}, one at a time`, sides, rounds);
}

function measureRate(bench: Bench, work: Work, contenders: readonly Contender[]): Promise<Samples<string>> {
  const count = Math.ceil(bench.seconds * runsPerSecond);
  const sides = sidesOf(contenders, async ({ many }) => ({ perSecond: await many(work, count) }));
  return inTurns(bench, `engine, ${workNames[work]}, ${concurrency} at a time`, sides, rounds);
}

function sidesOf(
  contenders: readonly Contender[],
  measure: (contender: Contender) => Promise<Sample>,
): Record<string, () => Promise<Sample>> {
  return Object.fromEntries(contenders.map((contender) => [contender.name, () => measure(contender)] as const));
}

/** Each of our shapes, the first two beside each peer. */
function latencies(
  work: Work,
  samples: Samples<string>,
  ours: readonly Contender[],
  others: readonly Contender[],
): Figure[] {
  const of = (name: string, key: string) => values(samples[name] ?? [], key);
  return ours.flatMap(({ name }, place) =>
    (["p50", "p99"] as const).flatMap((percentile) => {
      const title = `${workNames[work]}, one at a time, ${percentile}, ${name}`;
      const product = of(name, `${percentile}Ms`);
      const beside = others.map((other) => ({ name: other.name, rounds: [of(other.name, `${percentile}Ms`)] }));
      return compared({ name: title, unit: "ms", better: "less", product }, place < 2 ? beside : []);
    }),
  );
}

function rates(
  work: Work,
  samples: Samples<string>,
  ours: readonly Contender[],
  others: readonly Contender[],
): Figure[] {
  const of = (name: string) => values(samples[name] ?? [], "perSecond");
  return ours.flatMap(({ name }, place) => {
    const title = `${workNames[work]}, ${concurrency} at a time, ${name}`;
    const beside = place < 2 ? others.map((other) => ({ name: other.name, rounds: [of(other.name)] })) : [];
    return compared({ name: title, unit: "runs/s", better: "more", product: of(name) }, beside);
  });
}

type Bare = Parameters<typeof figureOf>[0];

/** The figure beside each of the others, a line each; alone when there are none. */
function compared(figure: Bare, others: readonly NonNullable<Bare["limit"]>[]): Figure[] {
  if (others.length === 0) return [figureOf(figure)];
  return others.map((limit) => figureOf({ ...figure, limit }));
}
