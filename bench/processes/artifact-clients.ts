import { randomBytes } from "node:crypto";
import { Agent, type IncomingMessage, request } from "node:http";
import { createSignalboxClient, type SignalboxClient } from "../../src/client/client.ts";
import { uploadArtifact } from "../../src/client/upload-artifact.ts";
import { answerQuestions } from "../support/answer.ts";
import { storedSizes } from "../support/installation.ts";
import { holdRuns } from "../support/leases.ts";
import { type Load, type LoadShape, press, summarize } from "../support/load.ts";
import { newRun } from "../support/runs.ts";
import { toolCallKinds } from "../support/tool-calls.ts";

const resources = new AsyncDisposableStack();
const agent = new Agent({ keepAlive: true });
resources.defer(() => agent.destroy());

const small = randomBytes(1024);
/** What large files consist of, and what one message of an upload has. */
const piece = randomBytes(256 * 1024);
/** What is asked for in the middle of a large file. */
const rangeBytes = 64 * 1024;
/** As many files a run has at most. */
const filesOfRun = 50;

interface Opened {
  readonly client: SignalboxClient;
  /** Artifacts that are there to be downloaded, by their sizes. */
  readonly kept: Map<number, string>;
}
let opened: Opened | undefined;

function installation(): Opened {
  if (opened === undefined) throw new Error("open comes first");
  return opened;
}

function kept(bytes: number): string {
  const artifactId = installation().kept.get(bytes);
  if (artifactId === undefined) throw new Error("keep comes first");
  return artifactId;
}

function* piecesOf(bytes: number): Generator<Uint8Array<ArrayBuffer>> {
  for (let left = bytes; left > 0; left -= piece.length) yield piece.subarray(0, left);
}

async function* framesOf(bytes: number) {
  const spec = { name: "large.bin", sizeBytes: BigInt(bytes) };
  yield { frame: { case: "header" as const, value: { spec } } };
  for (const value of piecesOf(bytes)) yield { frame: { case: "data" as const, value } };
}

async function upload(bytes: number): Promise<string> {
  const { artifact } = await installation().client.artifacts.uploadArtifact(framesOf(bytes));
  return artifact?.artifactId ?? "";
}

/** A URL that is good for the next few minutes. */
async function signedUrl(artifactId: string): Promise<string> {
  const { artifacts, runs } = installation().client;
  const { url, position } = await artifacts.createDownloadUrl({ artifactId });
  // A link is looked up in the read models, which a turn may have left behind.
  await runs.listRuns({ pageSize: 1, minPosition: position }, { timeoutMs: 60_000 });
  const { statusCode, headers } = (await get(url)).resume();
  if (headers.location === undefined) throw new Error(`the link was answered with ${statusCode}`);
  return new URL(headers.location, url).href;
}

function get(url: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  request(url, { agent, headers }, resolve).on("error", reject).end();
  return promise;
}

/** Resolves when all of the body is there and it has as many bytes as it should. */
async function drain(body: AsyncIterable<Uint8Array>, bytes: number): Promise<undefined> {
  let received = 0;
  for await (const { length } of body) received += length;
  if (received !== bytes) throw new Error(`${received} bytes came, not ${bytes}`);
}

async function* dataOf(responses: ReturnType<SignalboxClient["artifacts"]["downloadArtifact"]>) {
  for await (const { frame } of responses) if (frame.case === "data") yield frame.value;
}

/** Prepares a transfer of so many bytes, which can be repeated. An upload answers the id of what came of it. */
type Prepare = (bytes: number) => Promise<() => Promise<string | undefined>>;

/** The ways of a large file to the server and back. */
const ways = {
  upload: async (bytes) => () => upload(bytes),
  async uploadInChunks(bytes) {
    const blob = new Blob([...piecesOf(bytes)]);
    return async () => (await uploadArtifact(installation().client, blob, { name: "large.bin" })).artifactId;
  },
  async download(bytes) {
    const { artifacts } = installation().client;
    const artifactId = kept(bytes);
    return () => drain(dataOf(artifacts.downloadArtifact({ artifactId })), bytes);
  },
  async get(bytes) {
    const url = await signedUrl(kept(bytes));
    return async () => drain(await get(url), bytes);
  },
} satisfies Record<string, Prepare>;

/** A way, by its name. */
export type Way = keyof typeof ways;

/** Runs for files, one for each that is under way at the same time: no worker takes them. */
async function openRuns(count: number) {
  const open = async () => {
    const { run } = await installation().client.runs.createRun({ ...newRun, handler: "nobody" });
    return { runId: run?.runId ?? "", files: 0 };
  };
  const runs = await Promise.all(Array.from({ length: count }, open));
  return async (slot: number): Promise<string> => {
    const run = runs[slot];
    const next = run === undefined || run.files === filesOfRun ? (runs[slot] = await open()) : run;
    next.files++;
    return next.runId;
  };
}

const functions = {
  /** Connects. */
  open(url: string): void {
    opened = { client: resources.use(createSignalboxClient({ baseUrl: url })), kept: new Map() };
  },
  /** Calls CreateArtifact with 1 KiB; in runs, each of those under way has one of its own. */
  async createSmall({ inRuns, ...shape }: LoadShape & { inRuns: boolean }): Promise<Load> {
    const { artifacts } = installation().client;
    const runFor = inRuns ? await openRuns(shape.concurrency) : async () => "";
    return press(shape, async (slot) => {
      await artifacts.createArtifact({ spec: { name: "small.bin", runId: await runFor(slot) }, data: small });
    });
  },
  /** What a small file is as stored, in bytes: itself, and its events without and within a run. Both have to have happened. */
  async sizes(): Promise<{ blob: number; alone: number[]; inRun: number[] }> {
    const { client } = installation();
    const [created = 0] = await storedSizes(client, { types: ["artifact.created"] });
    const [added = 0] = await storedSizes(client, { types: ["run.artifact_added"] });
    return { blob: small.length, alone: [created], inRun: [added, created] };
  },
  /** Uploads a file to be downloaded. */
  async keep(bytes: number): Promise<void> {
    installation().kept.set(bytes, await upload(bytes));
  },
  /** Moves so many bytes, again and again for so long. Returns bytes a second. What is uploaded is removed afterwards. */
  async transfer({ way, bytes, ms }: { way: Way; bytes: number; ms: number }): Promise<number> {
    const { artifacts } = installation().client;
    const move = await ways[way](bytes);
    const moved: (string | undefined)[] = [];
    const { perSecond } = await press({ concurrency: 1, ms }, async () => moved.push(await move()));
    for (const artifactId of moved.filter((id) => id !== undefined)) {
      await artifacts.deleteArtifact({ artifactId, permanent: true });
    }
    return perSecond * bytes;
  },
  /** Asks for a part of a file that is kept, by URL. Latencies are to its first byte. */
  async firstByte({ bytes, from, ms }: { bytes: number; from: number; ms: number }): Promise<Load> {
    const url = await signedUrl(kept(bytes));
    const headers = { range: `bytes=${from}-${from + rangeBytes - 1}` };
    const latencies: number[] = [];
    await press({ concurrency: 1, ms }, async () => {
      const begunAt = performance.now();
      const response = await get(url, headers);
      response.once("data", () => latencies.push(performance.now() - begunAt));
      await drain(response, rangeBytes);
    });
    return summarize(latencies, ms);
  },
  /** A run with so many events, files of 1 MB among them. Returns its id. */
  async produce({ events, files }: { events: number; files: number }): Promise<string> {
    const { client } = installation();
    const [run] = await holdRuns(client, 1);
    if (run === undefined) throw new Error("no run was held");
    const data = randomBytes(1_000_000);
    for (let file = 1; file <= files; file++) {
      await client.artifacts.createArtifact({ spec: { name: `${file}.bin`, runId: run.runId }, data });
    }
    // It was created and claimed, and a call is two events.
    for (let left = events - files - 2; left > 0; left -= 2) await run.callTool(toolCallKinds.read);
    return run.runId;
  },
  /** Downloads the bundle of a run, `bytes` or more, again and again for so long. Returns bytes a second. */
  async bundle({ runId, bytes, ms }: { runId: string; bytes: number; ms: number }): Promise<number> {
    const { artifacts } = installation().client;
    let size = 0;
    const { perSecond } = await press({ concurrency: 1, ms }, async () => {
      size = 0;
      for await (const { data } of artifacts.downloadBundle({ runId })) size += data.length;
      if (size < bytes) throw new Error(`the bundle has ${size} bytes; some of its files are missing`);
    });
    return perSecond * size;
  },
};

/** Those who store files and fetch them, in a process of their own. */
export type ArtifactClientsProcess = typeof functions;

answerQuestions(functions, resources);
