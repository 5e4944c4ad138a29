import { join } from "node:path";
import { openNats } from "../src/eventlog/nats.ts";
import type { ArtifactClientsProcess, Way } from "./processes/artifact-clients.ts";
import type { BareFilesProcess } from "./processes/bare-files.ts";
import { type Figure, figureOf } from "./report/figure.ts";
import { type Backend, openBackend } from "./support/backend.ts";
import { ensureBareStreams } from "./support/bare-log.ts";
import type { Bench, Benchmark } from "./support/bench.ts";
import { processModule, settle, startServer } from "./support/installation.ts";
import { createLogger } from "./support/logger.ts";
import { type Remote, startProcess } from "./support/remote.ts";
import { inTurns, type Sample, values } from "./support/rounds.ts";

const megabyte = 1_000_000;
/** Below half a second for each turn, the large file is smaller. */
const largeBytes = 100 * megabyte;
const concurrencies = [1, 32] as const;
/** Each starts a server and moves the large file four times. */
const memoryRounds = 3;
const bundled = { events: 100, files: 10 };

/** What becomes of a large file on each way, and the limit of it. */
const ways = {
  upload: { name: "UploadArtifact", limit: "copy", memory: "up" },
  uploadInChunks: { name: "CreateUpload … FinishUpload", limit: "copy", memory: "up in chunks" },
  download: { name: "DownloadArtifact", limit: "read", memory: "down" },
  get: { name: "GET of a URL", limit: "read", memory: "down by URL" },
} as const satisfies Record<Way, { name: string; limit: "copy" | "read"; memory: string }>;
const wayNames = Object.keys(ways) as Way[];
const limitNames = {
  copy: "copy, fsync, SHA-256, AES-256-GCM",
  read: "read, SHA-256, AES-256-GCM",
} as const;

/** How fast files get in and out, and what they take of the server's memory meanwhile. */
export const artifacts: Benchmark = {
  name: "artifacts",
  summary: "small and large files in and out, bundles and memory, beside files that are only hashed, sealed and synced",
  async run(bench) {
    await using stack = new AsyncDisposableStack();
    const backend = stack.use(await openBackend(bench.signal));
    const bytes = Math.round(largeBytes * Math.min(1, bench.seconds * 2));
    // First, while no other server takes part in the work.
    const memory = await memoryOfLarge(bench, backend, bytes);
    bench.progress("artifacts: starting");
    const scene = await setUp(backend, bytes, stack);
    const figures: Figure[] = [];
    for (const concurrency of concurrencies) figures.push(...(await small(bench, scene, concurrency)));
    figures.push(...(await large(bench, scene)), await firstByte(bench, scene), await bundle(bench, scene));
    return [...figures, ...memory];
  },
};

interface Scene {
  readonly url: string;
  readonly clients: Remote<ArtifactClientsProcess>;
  readonly bareFiles: Remote<BareFilesProcess>;
  /** What is stored of a small file, in bytes: a raw client stores the same. */
  readonly sizes: Awaited<ReturnType<ArtifactClientsProcess["sizes"]>>;
  /** The size of the large file. */
  readonly bytes: number;
}

async function setUp(backend: Backend, bytes: number, stack: AsyncDisposableStack): Promise<Scene> {
  const { natsUrl, folder } = backend;
  await using nats = await openNats({ url: natsUrl, name: "bench", log: createLogger() });
  await ensureBareStreams(nats);
  const { url } = await startServer(backend, ["server", "projector", "reactors"], stack);
  const clients = await startClients(url, stack);
  const bareFiles = stack.use(await startProcess<BareFilesProcess>(processModule("bare-files")));
  await bareFiles.call("open", { natsUrl, folder: join(folder, "bare"), bytes });
  await clients.call("keep", bytes);
  for (const inRuns of [false, true]) await clients.call("createSmall", { inRuns, concurrency: 1, ms: 1 });
  await settle(url);
  return { url, clients, bareFiles, sizes: await clients.call("sizes"), bytes };
}

async function startClients(url: string, stack: AsyncDisposableStack): Promise<Remote<ArtifactClientsProcess>> {
  const clients = stack.use(await startProcess<ArtifactClientsProcess>(processModule("artifact-clients")));
  await clients.call("open", url);
  return clients;
}

/** Files of 1 KiB, with and without a run that they belong to. */
async function small(bench: Bench, scene: Scene, concurrency: number): Promise<Figure[]> {
  const { url, clients, bareFiles, sizes } = scene;
  const shape = { concurrency, ms: bench.seconds * 1000 };
  const product = (inRuns: boolean) => async (): Promise<Sample> => {
    const load = await clients.call("createSmall", { inRuns, ...shape });
    await settle(url);
    return { ...load };
  };
  const bare = (events: readonly number[]) => async (): Promise<Sample> => ({
    ...(await bareFiles.call("store", { blobBytes: sizes.blob, sizes: events, ...shape })),
  });
  const samples = await inTurns(bench, `artifacts, 1 KiB, ${concurrency} at a time`, {
    alone: product(false),
    "alone bare": bare(sizes.alone),
    inRun: product(true),
    "inRun bare": bare(sizes.inRun),
  });
  const kinds = [
    { side: "alone", name: "1 KiB", limit: "blob with fsync, 1 raw publish" },
    { side: "inRun", name: "1 KiB of a run", limit: "blob with fsync, 2 raw publishes" },
  ] as const;
  return kinds.flatMap(({ side, name, limit }) => {
    const figure = (what: string, unit: string, key: string, better: "more" | "less") =>
      figureOf({
        name: `CreateArtifact, ${name}, ${concurrency} at a time${what}`,
        unit,
        better,
        product: values(samples[side], key),
        limit: { name: limit, rounds: [values(samples[`${side} bare`], key)] },
      });
    return [figure("", "files/s", "perSecond", "more"), figure(", p50", "ms", "p50Ms", "less")];
  });
}

/** The large file on all ways, one at a time. */
async function large(bench: Bench, { clients, bareFiles, bytes }: Scene): Promise<Figure[]> {
  const shape = { bytes, ms: bench.seconds * 1000 };
  const side = (way: Way) => async () => ({ mb: (await clients.call("transfer", { way, ...shape })) / megabyte });
  const samples = await inTurns(bench, `artifacts, ${sizeName(bytes)}`, {
    upload: side("upload"),
    uploadInChunks: side("uploadInChunks"),
    copy: async () => ({ mb: (await bareFiles.call("copy", shape)) / megabyte }),
    download: side("download"),
    get: side("get"),
    read: async () => ({ mb: (await bareFiles.call("read", shape)) / megabyte }),
  });
  return wayNames.map((way) =>
    figureOf({
      name: `${ways[way].name}, ${sizeName(bytes)}`,
      unit: "MB/s",
      better: "more",
      product: values(samples[way], "mb"),
      limit: { name: limitNames[ways[way].limit], rounds: [values(samples[ways[way].limit], "mb")] },
    }),
  );
}

/** How long it takes until a part in the middle of the large file begins to come, beside its beginning. */
async function firstByte(bench: Bench, { clients, bytes }: Scene): Promise<Figure> {
  const from = async (place: number): Promise<Sample> => ({
    ...(await clients.call("firstByte", { bytes, from: place, ms: bench.seconds * 1000 })),
  });
  const samples = await inTurns(bench, "artifacts, a part by URL", {
    middle: () => from(Math.floor(bytes / 2)),
    beginning: () => from(0),
  });
  return figureOf({
    name: `first byte of a Range in the middle of ${sizeName(bytes)}, p50`,
    unit: "ms",
    better: "less",
    product: values(samples.middle, "p50Ms"),
    limit: { name: "a Range at its beginning", rounds: [values(samples.beginning, "p50Ms")] },
  });
}

/** A run with all that belongs to it, as one zip. */
async function bundle(bench: Bench, { clients, bareFiles, bytes }: Scene): Promise<Figure> {
  const runId = await clients.call("produce", bundled);
  const ms = bench.seconds * 1000;
  const product = { runId, bytes: bundled.files * megabyte, ms };
  const read = { bytes: Math.min(bytes, product.bytes), ms };
  const samples = await inTurns(bench, "artifacts, a bundle", {
    product: async () => ({ mb: (await clients.call("bundle", product)) / megabyte }),
    read: async () => ({ mb: (await bareFiles.call("read", read)) / megabyte }),
  });
  return figureOf({
    name: `DownloadBundle, ${bundled.events} events and ${bundled.files} files of 1 MB`,
    unit: "MB/s",
    better: "more",
    product: values(samples.product, "mb"),
    limit: { name: limitNames.read, rounds: [values(samples.read, "mb")] },
  });
}

/** What the large file adds to the memory of the server on its ways, in servers that were started for this. */
async function memoryOfLarge(bench: Bench, backend: Backend, bytes: number): Promise<Figure[]> {
  const sides = { product: () => mbAboveIdle(backend, bytes) };
  const samples = await inTurns(bench, `artifacts, memory for ${sizeName(bytes)}`, sides, memoryRounds);
  return wayNames.map((way) =>
    figureOf({
      name: `server memory above idle, ${sizeName(bytes)} ${ways[way].memory}`,
      unit: "MB",
      better: "less",
      product: values(samples.product, way),
      target: { maxValue: 64 },
    }),
  );
}

/** The most that a fresh server has resident on each way, one after the other, above what it had before the first. */
async function mbAboveIdle(backend: Backend, bytes: number): Promise<Record<Way, number>> {
  await using stack = new AsyncDisposableStack();
  const { url, process } = await startServer(backend, ["server", "projector", "reactors"], stack);
  const clients = await startClients(url, stack);
  // The first ones pay for code that is loaded once.
  await clients.call("keep", megabyte);
  for (const way of wayNames) await clients.call("transfer", { way, bytes: megabyte, ms: 1 });
  await settle(url);
  const idle = (await process.call("measureMemory")).residentBytes;
  async function peakOf(work: () => Promise<unknown>): Promise<number> {
    await process.call("watchMemory");
    await work();
    return ((await process.call("peakMemory")) - idle) / megabyte;
  }
  const once = (way: Way) => peakOf(() => clients.call("transfer", { way, bytes, ms: 1 }));
  return {
    upload: await peakOf(() => clients.call("keep", bytes)),
    uploadInChunks: await once("uploadInChunks"),
    download: await once("download"),
    get: await once("get"),
  };
}

function sizeName(bytes: number): string {
  return `${bytes / megabyte} MB`;
}
