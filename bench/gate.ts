import { openNats } from "../src/eventlog/nats.ts";
import type { BareClientsProcess } from "./processes/bare-clients.ts";
import type { ClientsProcess } from "./processes/clients.ts";
import type { GateClientsProcess } from "./processes/gate-clients.ts";
import type { WorkerProcess } from "./processes/worker.ts";
import { type Figure, figureOf } from "./report/figure.ts";
import { openBackend } from "./support/backend.ts";
import { ensureBareStreams } from "./support/bare-log.ts";
import type { Bench, Benchmark } from "./support/bench.ts";
import { processModule, settle, startServer } from "./support/installation.ts";
import { createLogger } from "./support/logger.ts";
import { type Remote, startProcess } from "./support/remote.ts";
import { inTurns, type Sample, values } from "./support/rounds.ts";
import { type ToolCallKindName, toolCallKinds } from "./support/tool-calls.ts";

const kinds = Object.keys(toolCallKinds) as ToolCallKindName[];
const concurrencies = [1, 32] as const;
const idleRunsPerSecond = 50;
const decisionsPerSecond = 300;
const deciders = 8;
const posters = 50;

/** What it costs to be asked before something is done: tool calls past the policy, approvals, and the talk around them. */
export const gate: Benchmark = {
  name: "gate",
  summary: "tool calls through the policy, approvals and messages, beside raw publishes of the same sizes",
  async run(bench) {
    await using stack = new AsyncDisposableStack();
    bench.progress("gate: starting");
    const scene = await setUp(bench, stack);
    const figures: Figure[] = [];
    for (const concurrency of concurrencies) figures.push(...(await toolCalls(bench, scene, concurrency)));
    return [
      ...figures,
      ...(await resumption(bench, scene)),
      await decisions(bench, scene),
      await messages(bench, scene),
    ];
  },
};

interface Scene {
  readonly url: string;
  readonly clients: Remote<ClientsProcess>;
  readonly gateClients: Remote<GateClientsProcess>;
  readonly bareClients: Remote<BareClientsProcess>;
  /** What is stored of each, in bytes: a raw client stores the same. */
  readonly sizes: Awaited<ReturnType<GateClientsProcess["sizes"]>>;
}

async function setUp({ signal }: Bench, stack: AsyncDisposableStack): Promise<Scene> {
  const backend = stack.use(await openBackend(signal));
  await using nats = await openNats({ url: backend.natsUrl, name: "bench", log: createLogger() });
  await ensureBareStreams(nats);
  const { url } = await startServer(backend, ["server", "projector", "reactors"], stack);
  const worker = stack.use(await startProcess<WorkerProcess>(processModule("worker")));
  await worker.call("open", { url, concurrency: 32 });
  const clients = stack.use(await startProcess<ClientsProcess>(processModule("clients")));
  const gateClients = stack.use(await startProcess<GateClientsProcess>(processModule("gate-clients")));
  await gateClients.call("open", url);
  const bareClients = stack.use(await startProcess<BareClientsProcess>(processModule("bare-clients")));
  await bareClients.call("open", { natsUrl: backend.natsUrl, eventBytes: 0 });
  return { url, clients, gateClients, bareClients, sizes: await sizesOf(url, gateClients) };
}

/** Lets each of them happen once and looks at what is on record. READ is the smallest call, and so the hardest to beat. */
async function sizesOf(url: string, gateClients: Remote<GateClientsProcess>): Promise<Scene["sizes"]> {
  await gateClients.call("callTools", { kind: "read", concurrency: 1, ms: 1 });
  await gateClients.call("approveMany", { count: 1, deciders: 1 });
  await gateClients.call("post", { concurrency: 1, ms: 1 });
  await settle(url);
  return gateClients.call("sizes", "read");
}

async function toolCalls(bench: Bench, scene: Scene, concurrency: number): Promise<Figure[]> {
  const { url, gateClients, bareClients, sizes } = scene;
  const shape = { concurrency, ms: bench.seconds * 1000 };
  const side = (kind: ToolCallKindName) => async (): Promise<Sample> => {
    const load = await gateClients.call("callTools", { kind, ...shape });
    await settle(url);
    return { ...load };
  };
  const samples = await inTurns(bench, `gate, tool calls, ${concurrency} at a time`, {
    read: side("read"),
    write: side("write"),
    external: side("external"),
    ruled: side("ruled"),
    publish: async () => ({ ...(await bareClients.call("publish", { sizes: sizes.call, ...shape })) }),
  });
  return kinds.flatMap((kind) => {
    const figure = (what: string, unit: string, key: string, better: "more" | "less") =>
      figureOf({
        name: `${toolCallKinds[kind].name}, ${concurrency} at a time${what}`,
        unit,
        better,
        product: values(samples[kind], key),
        limit: { name: "2 raw publishes", rounds: [values(samples.publish, key)] },
      });
    return [figure("", "calls/s", "perSecond", "more"), figure(", p50", "ms", "p50Ms", "less")];
  });
}

/** How long it takes from a decision to the end of the run that has waited for it. */
async function resumption(bench: Bench, { url, clients, gateClients }: Scene): Promise<Figure[]> {
  const count = Math.ceil(bench.seconds * idleRunsPerSecond);
  const samples = await inTurns(bench, "gate, approved one at a time", {
    approved: async () => ({ ...(await gateClients.call("approveOneByOne", { count })) }),
    created: async () => ({ ...(await clients.call("runOneByOne", { url, count })) }),
  });
  return (["p50", "p99"] as const).map((percentile) =>
    figureOf({
      name: `decided to done, idle, ${percentile}`,
      unit: "ms",
      better: "less",
      product: values(samples.approved, `${percentile}Ms`),
      limit: { name: "created to done of `echo`", rounds: [values(samples.created, `${percentile}Ms`)] },
    }),
  );
}

async function decisions(bench: Bench, { url, gateClients, bareClients, sizes }: Scene): Promise<Figure> {
  const count = Math.ceil(bench.seconds * decisionsPerSecond);
  const shape = { concurrency: deciders, ms: bench.seconds * 1000 };
  const samples = await inTurns(bench, `gate, ${deciders} deciders`, {
    product: async () => {
      const perSecond = await gateClients.call("approveMany", { count, deciders });
      await settle(url);
      return { perSecond };
    },
    publish: async () => ({ ...(await bareClients.call("publish", { sizes: sizes.decision, ...shape })) }),
  });
  return figureOf({
    name: `approvals decided, ${deciders} deciders`,
    unit: "decisions/s",
    better: "more",
    product: values(samples.product, "perSecond"),
    limit: { name: "raw publish", rounds: [values(samples.publish, "perSecond")] },
  });
}

async function messages(bench: Bench, { url, gateClients, bareClients, sizes }: Scene): Promise<Figure> {
  const shape = { concurrency: posters, ms: bench.seconds * 1000 };
  const samples = await inTurns(bench, `gate, ${posters} posters in a room`, {
    product: async () => {
      const load = await gateClients.call("post", shape);
      await settle(url);
      return { ...load };
    },
    publish: async () => ({ ...(await bareClients.call("publish", { sizes: sizes.message, ...shape })) }),
  });
  return figureOf({
    name: `messages, ${posters} posters in a room`,
    unit: "messages/s",
    better: "more",
    product: values(samples.product, "perSecond"),
    limit: { name: "raw publish", rounds: [values(samples.publish, "perSecond")] },
  });
}
