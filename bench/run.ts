import { openNats } from "../src/eventlog/nats.ts";
import type { BareClientsProcess } from "./processes/bare-clients.ts";
import type { BareWorkerProcess } from "./processes/bare-worker.ts";
import type { ClientsProcess } from "./processes/clients.ts";
import type { WorkerProcess } from "./processes/worker.ts";
import { type Figure, figureOf } from "./report/figure.ts";
import { type Backend, openBackend } from "./support/backend.ts";
import { ensureBareStreams } from "./support/bare-log.ts";
import type { Bench, Benchmark } from "./support/bench.ts";
import { eventSizes, processModule, settle, startServer } from "./support/installation.ts";
import { createLogger } from "./support/logger.ts";
import { type Remote, startProcess } from "./support/remote.ts";
import { inTurns, values } from "./support/rounds.ts";

const concurrency = 32;
const runsPerSecond = 2_000;
const idleRunsPerSecond = 100;
const limitName = "3 publishes and a job, bare client";

/** How long a run takes from its creation to its end, with a worker that has nothing to do but to answer. */
export const run: Benchmark = {
  name: "run",
  summary: "a run of `echo` from created to done, beside the same publishes in bare client code",
  async run(bench) {
    await using stack = new AsyncDisposableStack();
    bench.progress("run: starting");
    const backend = stack.use(await openBackend(bench.signal));
    const { url, clients } = await startProduct(backend, stack);
    const bareClients = await startBare(backend, await eventSizes(url), stack);
    const sides = { url, clients, bareClients };
    return [...(await latencies(bench, sides)), await rate(bench, sides)];
  },
};

interface Sides {
  readonly url: string;
  readonly clients: Remote<ClientsProcess>;
  readonly bareClients: Remote<BareClientsProcess>;
}

async function latencies(bench: Bench, { url, clients, bareClients }: Sides): Promise<Figure[]> {
  const count = Math.ceil(bench.seconds * idleRunsPerSecond);
  const samples = await inTurns(bench, "run, one at a time", {
    product: async () => ({ ...(await clients.call("runOneByOne", { url, count })) }),
    bare: async () => ({ ...(await bareClients.call("runOneByOne", { count })) }),
  });
  const figure = (percentile: string, key: string, maxValue: number) =>
    figureOf({
      name: `created to done, idle, ${percentile}`,
      unit: "ms",
      better: "less",
      product: values(samples.product, key),
      limit: { name: limitName, rounds: [values(samples.bare, key)] },
      target: { maxValue },
    });
  return [figure("p50", "p50Ms", 5), figure("p99", "p99Ms", 20)];
}

async function rate(bench: Bench, { url, clients, bareClients }: Sides): Promise<Figure> {
  const count = Math.ceil(bench.seconds * runsPerSecond);
  const samples = await inTurns(bench, `run, ${concurrency} at a time`, {
    product: async () => {
      const perSecond = await clients.call("runMany", { url, count, concurrency });
      await settle(url);
      return { perSecond };
    },
    bare: async () => ({ perSecond: await bareClients.call("runMany", { count, concurrency }) }),
  });
  return figureOf({
    name: `created to done, ${concurrency} submitted at a time`,
    unit: "runs/s",
    better: "more",
    product: values(samples.product, "perSecond"),
    limit: { name: limitName, rounds: [values(samples.bare, "perSecond")] },
  });
}

async function startProduct(backend: Backend, stack: AsyncDisposableStack) {
  const { url } = await startServer(backend, ["server", "projector", "reactors"], stack);
  const worker = stack.use(await startProcess<WorkerProcess>(processModule("worker")));
  await worker.call("open", { url, concurrency });
  return { url, clients: stack.use(await startProcess<ClientsProcess>(processModule("clients"))) };
}

async function startBare({ natsUrl }: Backend, sizes: number[], stack: AsyncDisposableStack) {
  await using nats = await openNats({ url: natsUrl, name: "bench", log: createLogger() });
  await ensureBareStreams(nats);
  const [eventBytes = 0, claimedBytes = 0, doneBytes = 0] = sizes;
  const worker = stack.use(await startProcess<BareWorkerProcess>(processModule("bare-worker")));
  await worker.call("open", { natsUrl, claimedBytes, doneBytes, concurrency });
  const clients = stack.use(await startProcess<BareClientsProcess>(processModule("bare-clients")));
  await clients.call("open", { natsUrl, eventBytes });
  return clients;
}
