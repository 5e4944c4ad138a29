import { openNats } from "../src/eventlog/nats.ts";
import type { BareClientsProcess } from "./processes/bare-clients.ts";
import type { BareServerProcess } from "./processes/bare-server.ts";
import type { ServerProcess } from "./processes/server.ts";
import type { SubscribersProcess } from "./processes/subscribers.ts";
import type { WriterProcess } from "./processes/writer.ts";
import { type Figure, figureOf } from "./report/figure.ts";
import { type Backend, openBackend } from "./support/backend.ts";
import { ensureBareStreams } from "./support/bare-log.ts";
import type { Bench, Benchmark } from "./support/bench.ts";
import { processModule, type RunningServer, startBareServer, startServer } from "./support/installation.ts";
import { createLogger } from "./support/logger.ts";
import type { Memory } from "./support/memory.ts";
import { type Remote, startProcess } from "./support/remote.ts";
import { inTurns, values } from "./support/rounds.ts";

const audienceSizes = [1, 100, 1_000] as const;
/** What one round delivers in all for each second that it may take. */
const deliveriesPerSecond = 40_000;
/** What one round appends at most for each second that it may take: more than the log takes. */
const appendsPerSecond = 5_000;
const backlogPerSecond = 10_000;
const backlogRoom = "room_backlog";
const idleAudience = 1_000;
/** Each starts four processes and opens 2,000 subscriptions. */
const memoryRounds = 3;
const limitName = "bare Connect streaming";

/** How fast events get to everyone who watches a room, and what someone who only waits costs. */
export const subscribe: Benchmark = {
  name: "subscribe",
  summary: "Subscribe with 1, 100 and 1,000 watchers of a room, beside bare streaming of the same bytes",
  async run(bench) {
    await using stack = new AsyncDisposableStack();
    const backend = stack.use(await openBackend(bench.signal));
    const scene = await setUp(bench, backend, stack);
    const figures: Figure[] = [];
    for (const size of audienceSizes) figures.push(await fanOut(bench, scene, size));
    figures.push(await catchUp(bench, scene), ...(await idleMemory(bench, backend)));
    return figures;
  },
};

interface Scene {
  readonly product: RunningServer<ServerProcess>;
  readonly bare: RunningServer<BareServerProcess>;
  readonly subscribers: Remote<SubscribersProcess>;
  readonly writer: Remote<WriterProcess>;
  readonly bareClients: Remote<BareClientsProcess>;
  /** An event as subscribers get it: what the bare server sends. */
  readonly event: Uint8Array;
  readonly backlog: number;
}

async function setUp({ progress, seconds }: Bench, backend: Backend, stack: AsyncDisposableStack): Promise<Scene> {
  const { natsUrl, databaseUrl } = backend;
  const backlog = Math.ceil(seconds * backlogPerSecond);
  progress(`subscribe: starting, and recording ${backlog} events`);
  await using nats = await openNats({ url: natsUrl, name: "bench", log: createLogger() });
  await ensureBareStreams(nats);
  const writer = stack.use(await startProcess<WriterProcess>(processModule("writer")));
  await writer.call("open", { natsUrl, databaseUrl });
  // Before the server starts: what it sees happen it keeps in memory, and this is to come from the record.
  await writer.call("append", { roomId: backlogRoom, count: backlog });
  const event = await writer.call("newest");
  // Nobody queries: a projector would only take a part of the machine.
  const product = await startServer(backend, ["server"], stack);
  const bare = await startBareServer(product.url, stack);
  const subscribers = stack.use(await startProcess<SubscribersProcess>(processModule("subscribers")));
  const bareClients = stack.use(await startProcess<BareClientsProcess>(processModule("bare-clients")));
  await bareClients.call("open", { natsUrl, eventBytes: event.length });
  return { product, bare, subscribers, writer, bareClients, event, backlog };
}

/** Events a second that reach all watchers together, from the moment the first is appended. */
async function fanOut(bench: Bench, scene: Scene, size: number): Promise<Figure> {
  const { product, bare, subscribers, writer, event } = scene;
  const roomId = `room_${size}`;
  const events = Math.ceil(bench.seconds * Math.min(appendsPerSecond, deliveriesPerSecond / size));
  const audience = { roomId, fromPosition: await writer.call("head"), count: size };
  await subscribers.call("open", { ...audience, name: "product", url: product.url });
  await subscribers.call("open", { ...audience, name: "bare", url: bare.url });
  const samples = await inTurns(bench, `subscribe, ${size} watching`, {
    product: () => delivery(scene, "product", events * size, () => writer.call("append", { roomId, count: events })),
    bare: () => delivery(scene, "bare", events * size, () => bare.process.call("send", { event, count: events })),
    publish: () => deliveredAtMost(bench, scene, size),
  });
  for (const name of ["product", "bare"]) await subscribers.call("close", name);
  return figureOf({
    name: `delivered live, ${size} watching`,
    unit: "events/s",
    better: "more",
    product: values(samples.product, "perSecond"),
    limit: {
      name: `${limitName} or raw publish, the slower`,
      rounds: [values(samples.bare, "perSecond"), values(samples.publish, "perSecond")],
    },
    target: { minRatio: 0.7 },
  });
}

/** Nobody can deliver live what is not recorded yet: what raw publishing makes of it. */
async function deliveredAtMost({ seconds }: Bench, { bareClients, event }: Scene, size: number) {
  const shape = { concurrency: 64, ms: seconds * 1000 };
  const { perSecond } = await bareClients.call("publish", { sizes: [event.length], ...shape });
  return { perSecond: perSecond * size };
}

/** What one watcher gets a second of what is on record already. */
async function catchUp(bench: Bench, scene: Scene): Promise<Figure> {
  const { product, bare, subscribers, event, backlog } = scene;
  const audience = { roomId: backlogRoom, fromPosition: 0n, count: 1 };
  const samples = await inTurns(bench, "subscribe, catching up", {
    product: async () => {
      const open = () => subscribers.call("open", { ...audience, name: "product", url: product.url });
      const sample = await delivery(scene, "product", backlog, open);
      await subscribers.call("close", "product");
      return sample;
    },
    bare: async () => {
      await subscribers.call("open", { ...audience, name: "bare", url: bare.url });
      const sample = await delivery(scene, "bare", backlog, () => bare.process.call("send", { event, count: backlog }));
      await subscribers.call("close", "bare");
      return sample;
    },
  });
  return figureOf({
    name: "delivered from the record, 1 watching",
    unit: "events/s",
    better: "more",
    product: values(samples.product, "perSecond"),
    limit: { name: limitName, rounds: [values(samples.bare, "perSecond")] },
  });
}

/** Has `count` events sent to the audience, and waits until it has them. */
async function delivery({ subscribers }: Scene, name: string, count: number, send: () => Promise<unknown>) {
  const startedAt = performance.now();
  await send();
  await subscribers.call("receive", { name, count });
  return { perSecond: (count / (performance.now() - startedAt)) * 1000 };
}

/** A server that was just started, and the way to ask for its memory. */
interface Fresh {
  readonly url: string;
  measureMemory(): Promise<Memory>;
}
type Start = (stack: AsyncDisposableStack) => Promise<Fresh>;

/** What a subscriber who only waits adds to the memory of the server, in servers that were started for this. */
async function idleMemory(bench: Bench, backend: Backend): Promise<Figure[]> {
  const startProduct: Start = async (stack) => {
    const { url, process } = await startServer(backend, ["server"], stack);
    return { url, measureMemory: () => process.call("measureMemory") };
  };
  const startBare: Start = async (stack) => {
    const { url: sampleUrl } = await startServer(backend, ["server"], stack);
    const { url, process } = await startBareServer(sampleUrl, stack);
    return { url, measureMemory: () => process.call("measureMemory") };
  };
  const sides = { product: () => kibEachIdle(startProduct), bare: () => kibEachIdle(startBare) };
  const samples = await inTurns(bench, `subscribe, ${idleAudience} idle`, sides, memoryRounds);
  const figure = (name: string, key: string, target: { target?: { maxValue: number } } = {}) =>
    figureOf({
      name,
      unit: "KiB",
      better: "less",
      product: values(samples.product, key),
      limit: { name: limitName, rounds: [values(samples.bare, key)] },
      ...target,
    });
  return [
    figure("server memory for each idle subscriber, resident", "resident", { target: { maxValue: 50 } }),
    figure("server memory for each idle subscriber, in use", "used"),
  ];
}

async function kibEachIdle(start: Start) {
  await using stack = new AsyncDisposableStack();
  const { url, measureMemory } = await start(stack);
  const subscribers = stack.use(await startProcess<SubscribersProcess>(processModule("subscribers")));
  const audience = { url, roomId: "room_idle", fromPosition: 0n };
  // The first ones pay for code that is loaded once.
  await subscribers.call("open", { ...audience, name: "first", count: idleAudience / 20 });
  const before = await measureMemory();
  await subscribers.call("open", { ...audience, name: "idle", count: idleAudience });
  const after = await measureMemory();
  const each = (key: keyof Memory) => (after[key] - before[key]) / idleAudience / 1024;
  return { resident: each("residentBytes"), used: each("usedBytes") };
}
