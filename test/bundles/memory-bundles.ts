import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { ArtifactCreatedSchema } from "../../gen/signalbox/v1/artifact_event_pb.ts";
import type { AccessMethod } from "../../gen/signalbox/v1/artifact_pb.ts";
import { DownloadBundleRequestSchema } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { PrincipalSchema, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import {
  RunArtifactAddedSchema,
  RunCanceledSchema,
  StepCompletedSchema,
  StepStartedSchema,
} from "../../gen/signalbox/v1/run_event_pb.ts";
import { type Bundles, createBundles } from "../../src/bundles/bundles.ts";
import type { Standing } from "../../src/bundles/format.ts";
import { BundleProblem } from "../../src/bundles/problem.ts";
import { type VerifiedBundle, verifyBundle } from "../../src/bundles/verify.ts";
import { openZipReader } from "../../src/bundles/zip-reader.ts";
import { createEventLog } from "../../src/eventlog/event-log.ts";
import { createMemoryStore } from "../../src/eventlog/memory-store.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import type { Call } from "../../src/kernel/call.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { evolveRun } from "../../src/runs/resource.ts";
import { type Appender, createAppender } from "../support/appender.ts";

export const workspaceId = "ws_test";
export const runId = "run_01ARZ3NDEKTSV4RRFFQ69G5FAV";

/** An artifact of the test: its bytes, and what the seams answer about it. */
export interface TestArtifact {
  readonly artifactId: string;
  readonly bytes: () => AsyncIterable<Uint8Array>;
  status: Standing;
  /** Thrown in place of access. */
  refusal?: SignalboxError;
}

/** What to add to the run. */
export interface NewArtifact {
  readonly name: string;
  readonly content?: string;
  readonly recipient?: string;
  /** In place of `content`. */
  readonly stream?: {
    readonly bytes: () => AsyncIterable<Uint8Array>;
    readonly sizeBytes: bigint;
    readonly sha256: string;
  };
}

/** A run on a log in memory, and bundles of it behind the real seams. */
export interface MemoryBundles extends Bundles {
  readonly appender: Appender;
  /** Every question to access, in order. */
  readonly wishes: { artifactId: string; method: AccessMethod; remoteAddress?: string }[];
  /** How many sources of bytes are open. */
  openSources(): number;
  begin(): Promise<void>;
  end(): Promise<void>;
  add(artifact: NewArtifact): Promise<TestArtifact>;
  /** The whole bundle. */
  bytes(request?: Partial<{ artifactIds: string[]; withoutArtifacts: boolean }>): Promise<Buffer>;
}

/** A call of somebody in the test's workspace. */
export function testCall(signal = new AbortController().signal): Call {
  const principal = create(PrincipalSchema, { type: PrincipalType.USER, id: "user:tester" });
  return { workspaceId, principal, correlationId: "corr_test", traceparent: "", signal };
}

/** A request for the test's run. */
export function bundleRequest(request: Partial<{ artifactIds: string[]; withoutArtifacts: boolean }> = {}) {
  return create(DownloadBundleRequestSchema, { runId, ...request });
}

/** Bundles on an empty log in memory. */
export function createMemoryBundles(): MemoryBundles {
  const log = createEventLog(createMemoryStore(), createSubjects("sb"));
  const appender = createAppender(log);
  const stream = { id: runId, roomId: "room_lab" };
  const artifacts = new Map<string, TestArtifact>();
  const wishes: MemoryBundles["wishes"] = [];
  let opened = 0;

  async function* source(bytes: AsyncIterable<Uint8Array>) {
    try {
      yield* bytes;
    } finally {
      opened--;
    }
  }

  const bundles = createBundles<TestArtifact>({
    log,
    evolveRun,
    artifacts: {
      load: (_workspaceId, id) => Promise.resolve({ state: { status: artifacts.get(id)?.status ?? "absent" } }),
    },
    access: {
      async require(_call, wish) {
        wishes.push(wish);
        const artifact = artifacts.get(wish.artifactId);
        if (artifact === undefined) throw new SignalboxError("ARTIFACT_NOT_FOUND", "no such artifact");
        if (artifact.refusal !== undefined) throw artifact.refusal;
        if (artifact.status !== "available") throw new SignalboxError("ARTIFACT_EXPIRED", "it is gone");
        return Promise.resolve(artifact);
      },
    },
    contents: {
      async open({ bytes }) {
        opened++;
        return Promise.resolve(source(bytes()));
      },
    },
  });

  async function add({ name, content = "", recipient = "", stream: given }: NewArtifact): Promise<TestArtifact> {
    const artifactId = `art_${String(artifacts.size + 1).padStart(26, "0")}`;
    const body = given ?? {
      bytes: () => pieces(Buffer.from(content)),
      sizeBytes: BigInt(Buffer.byteLength(content)),
      sha256: createHash("sha256").update(content).digest("hex"),
    };
    const artifact = create(ArtifactCreatedSchema, {
      runId,
      name,
      contentType: "text/plain",
      sizeBytes: body.sizeBytes,
      sha256: body.sha256,
      encryption: { scheme: "signalbox-sealed-v1", recipient },
      parts: [{ blob: `${workspaceId}/${artifactId}/blob`, sizeBytes: body.sizeBytes }],
    });
    const value = create(RunArtifactAddedSchema, { artifactId, artifact });
    await appender.append(stream, { case: "runArtifactAdded", value });
    const added: TestArtifact = { artifactId, bytes: body.bytes, status: "available" };
    artifacts.set(artifactId, added);
    return added;
  }

  return {
    ...bundles,
    appender,
    wishes,
    openSources: () => opened,
    add,
    async begin() {
      await appender.append(stream);
      const step = { stepId: "step_1", key: "a", name: "a" };
      await appender.append(stream, { case: "stepStarted", value: create(StepStartedSchema, step) });
      await appender.append(stream, {
        case: "stepCompleted",
        value: create(StepCompletedSchema, { stepId: "step_1" }),
      });
    },
    async end() {
      await appender.append(stream, { case: "runCanceled", value: create(RunCanceledSchema, { reason: "enough" }) });
    },
    async bytes(request) {
      const frames = await Array.fromAsync(bundles.download(testCall(), bundleRequest(request)));
      return Buffer.concat(frames.map(({ data }) => data));
    },
  };
}

async function* pieces(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let from = 0; from < bytes.length; from += 7) yield Promise.resolve(bytes.subarray(from, from + 7));
}

/** A run that has ended, with a report, a table and an empty file. */
export async function createEndedRun(): Promise<MemoryBundles> {
  const bundles = createMemoryBundles();
  await bundles.begin();
  await bundles.add({ name: "report.txt", content: "all is well\n" });
  await bundles.add({ name: "CON", content: "a,b\n1,2\n" });
  await bundles.add({ name: "empty", content: "" });
  await bundles.end();
  return bundles;
}

/** A folder of the test's own. */
export async function openFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "signalbox-bundle-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

/** Verifies bytes as a file. */
export async function verifyBytes(bytes: Uint8Array, options: { head?: string } = {}): Promise<VerifiedBundle> {
  await using folder = await openFolder();
  const path = join(folder.path, "bundle.zip");
  await writeFile(path, bytes);
  return await verifyBundle(path, { evolveRun, ...options });
}

/** What does not fit, as `kind: place: message`; "fits" when all does. Anything but a BundleProblem is a defect. */
export async function verdict(verification: Promise<unknown>): Promise<string> {
  try {
    await verification;
    return "fits";
  } catch (error) {
    if (!(error instanceof BundleProblem)) throw error;
    return `${error.kind}: ${error.place}: ${error.message}`;
  }
}

/** The files of a bundle, as text, in order. */
export async function filesOf(bytes: Uint8Array): Promise<Map<string, string>> {
  await using folder = await openFolder();
  const path = join(folder.path, "bundle.zip");
  await writeFile(path, bytes);
  await using reader = await openZipReader(path);
  const files = new Map<string, string>();
  for (const name of reader.paths) files.set(name, Buffer.concat(await Array.fromAsync(reader.read(name))).toString());
  return files;
}
