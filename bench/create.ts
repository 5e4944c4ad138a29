import { openNats } from "../src/eventlog/nats.ts";
import type { BareClientsProcess } from "./processes/bare-clients.ts";
import type { ClientsProcess, Protocol } from "./processes/clients.ts";
import { type Figure, figureOf } from "./report/figure.ts";
import { openBackend } from "./support/backend.ts";
import { ensureBareStreams } from "./support/bare-log.ts";
import type { Bench, Benchmark } from "./support/bench.ts";
import { processModule, settle, startBareServer, startServer } from "./support/installation.ts";
import type { Load } from "./support/load.ts";
import { createLogger } from "./support/logger.ts";
import { type Remote, startProcess } from "./support/remote.ts";
import { inTurns, type Samples, values } from "./support/rounds.ts";

const protocols = { connect: "Connect", grpc: "gRPC" } as const satisfies Record<Protocol, string>;
const concurrencies = [1, 32] as const;
/** An event of run.created, about. */
const eventBytes = 600;
const limitName = "bare echo or raw publish, the slower";

/** How fast runs are created: every call durable, everything else going on as well. */
export const create: Benchmark = {
  name: "create",
  summary: "CreateRun over Connect and gRPC, beside a bare echo and raw publishes",
  async run(bench) {
    await using stack = new AsyncDisposableStack();
    const parts = await start(bench, stack);
    const found: Figure[] = [];
    for (const concurrency of concurrencies) found.push(...(await measure(bench, parts, concurrency)));
    return found;
  },
};

interface Parts {
  readonly clients: Remote<ClientsProcess>;
  readonly bareClients: Remote<BareClientsProcess>;
  readonly url: string;
  readonly bareUrl: string;
}

async function start({ progress, signal }: Bench, stack: AsyncDisposableStack): Promise<Parts> {
  progress("create: starting");
  const backend = stack.use(await openBackend(signal));
  await using nats = await openNats({ url: backend.natsUrl, name: "bench", log: createLogger() });
  await ensureBareStreams(nats);
  const { url } = await startServer(backend, ["server", "projector", "reactors"], stack);
  const { url: bareUrl } = await startBareServer(url, stack);
  const clients = stack.use(await startProcess<ClientsProcess>(processModule("clients")));
  const bareClients = stack.use(await startProcess<BareClientsProcess>(processModule("bare-clients")));
  await bareClients.call("open", { natsUrl: backend.natsUrl, eventBytes });
  return { clients, bareClients, url, bareUrl };
}

async function measure(bench: Bench, parts: Parts, concurrency: number): Promise<Figure[]> {
  const { clients, bareClients, url, bareUrl } = parts;
  const shape = { concurrency, ms: bench.seconds * 1000 };
  async function createOver(protocol: Protocol) {
    const load = await clients.call("create", { url, protocol, ...shape });
    await settle(url);
    return { ...load };
  }
  const echoOver = async (protocol: Protocol) => ({
    ...(await clients.call("create", { url: bareUrl, protocol, ...shape })),
  });
  const samples = await inTurns(bench, `create, ${concurrency} at a time`, {
    connect: () => createOver("connect"),
    "connect echo": () => echoOver("connect"),
    grpc: () => createOver("grpc"),
    "grpc echo": () => echoOver("grpc"),
    publish: async () => ({ ...(await bareClients.call("publish", { sizes: [eventBytes], ...shape })) }),
  });
  return [...figuresOf("connect", concurrency, samples), ...figuresOf("grpc", concurrency, samples)];
}

type Side = Protocol | `${Protocol} echo` | "publish";

function figuresOf(protocol: Protocol, concurrency: number, samples: Samples<Side>): Figure[] {
  const of = (side: Side, key: keyof Load) => values(samples[side], key);
  const figure = (what: string, unit: string, key: keyof Load, better: "more" | "less") =>
    figureOf({
      name: `${protocols[protocol]}, ${concurrency} at a time${what}`,
      unit,
      better,
      product: of(protocol, key),
      limit: { name: limitName, rounds: [of(`${protocol} echo`, key), of("publish", key)] },
      ...(better === "more" ? { target: { minRatio: 0.8 } } : {}),
    });
  return [
    figure("", "runs/s", "perSecond", "more"),
    figure(", p50", "ms", "p50Ms", "less"),
    figure(", p99", "ms", "p99Ms", "less"),
  ];
}
