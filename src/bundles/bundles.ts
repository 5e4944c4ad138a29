import { AccessMethod } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { DownloadBundleRequest } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import type { EventLog } from "../eventlog/event-log.ts";
import type { EventRecord } from "../eventlog/record.ts";
import type { Call } from "../kernel/call.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { type AddedArtifact, type Course, createCourse, type EvolveRun } from "./course.ts";
import { eventLine } from "./event-line.ts";
import { eventsPath, manifestPath, maxArtifacts, type Omission, runPath, runText, type Standing } from "./format.ts";
import { type BundledFile, type Fate, manifestOf, manifestText } from "./manifest.ts";
import { measured } from "./measure.ts";
import { zip, type ZipEntry } from "./zip.ts";

/** Everything about a run, in one file. */
export interface Bundles {
  /**
   * A zip of the run as its stream stands now, in pieces of 64 KiB. The same stream, the same caller and the same artifacts give
   * the same bytes. Before the first piece: RUN_NOT_FOUND, ARTIFACT_NOT_FOUND for an artifact that is none of the run's,
   * PAYLOAD_TOO_LARGE for a run of more than 10,000 artifacts. Between the pieces: RATE_LIMITED, ARTIFACT_CORRUPT.
   */
  download(
    call: Call,
    request: DownloadBundleRequest,
    remoteAddress?: string,
  ): AsyncGenerator<{ data: Uint8Array }, void, void>;
}

/** Who may have an artifact's bytes; each question is in the access log before it is answered. */
export interface BundleAccess<Known> {
  require(
    call: Call,
    wish: { readonly artifactId: string; readonly method: AccessMethod; readonly remoteAddress?: string },
  ): Promise<Known>;
}

/** What bundles need. `Known` is an artifact as access and contents hand it on. */
export interface BundlesDeps<Known> {
  readonly log: Pick<EventLog, "last" | "read" | "subjects">;
  readonly evolveRun: EvolveRun;
  /** The artifacts' own streams. */
  readonly artifacts: {
    load(workspaceId: string, artifactId: string): Promise<{ readonly state: { readonly status: Standing } }>;
  };
  readonly access: BundleAccess<Known>;
  readonly contents: {
    open(known: Known, range: undefined, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  };
}

/** One download. */
interface Download {
  readonly call: Call;
  readonly course: Course;
  readonly remoteAddress: string;
  wants(artifact: AddedArtifact): boolean;
  /** Reads the events of the course again. */
  records(): AsyncIterable<EventRecord>;
}

/** What access and contents answer about an artifact whose bytes a bundle goes without. */
const omissionOf: Partial<Record<SignalboxError["reason"], Omission>> = {
  PERMISSION_DENIED: "not_permitted",
  ARTIFACT_EXPIRED: "gone",
  ARTIFACT_NOT_FOUND: "not_recorded",
};

/** The bundles of all runs; every call sees its own workspace only. */
export function createBundles<Known>(deps: BundlesDeps<Known>): Bundles {
  const { log, evolveRun, artifacts, access, contents } = deps;

  async function begin(call: Call, request: DownloadBundleRequest, remoteAddress: string): Promise<Download> {
    const { workspaceId, signal } = call;
    const { runId, artifactIds, withoutArtifacts } = request;
    const newest = await log.last(log.subjects.anyRoom({ workspaceId, type: "run", id: runId }));
    if (newest === undefined) {
      throw new SignalboxError("RUN_NOT_FOUND", `run ${runId} does not exist in this workspace`);
    }
    const records = () => log.read(newest.subject, 0n, newest.position, signal);
    const course = createCourse(evolveRun);
    for await (const record of records()) course.take(record);
    signal.throwIfAborted();
    requireFitting(course, runId);
    const wanted = selected(course, runId, artifactIds);
    return { call, course, remoteAddress, wants: (artifact) => !withoutArtifacts && wanted.has(artifact), records };
  }

  /** The bytes of an artifact, or why the bundle goes without them. */
  async function open(download: Download, artifact: AddedArtifact): Promise<AsyncIterable<Uint8Array> | Omission> {
    const { call, remoteAddress } = download;
    const { artifactId } = artifact;
    if (!download.wants(artifact)) return "not_selected";
    if (artifact.isSealed) return "sealed";
    try {
      const known = await access.require(call, { artifactId, method: AccessMethod.BUNDLE, remoteAddress });
      return await contents.open(known, undefined, call.signal);
    } catch (error) {
      const omission = error instanceof SignalboxError ? omissionOf[error.reason] : undefined;
      if (omission === undefined) throw error;
      return omission;
    }
  }

  async function* entries(download: Download): AsyncGenerator<ZipEntry, void, void> {
    const { call, course } = download;
    const files: BundledFile[] = [];
    const fates: Fate[] = [];
    if (course.run === undefined) throw new Error("the stream of a run does not begin with its creation");
    files.push(yield* put(runPath, [runText(course.run)]));
    files.push(yield* put(eventsPath, lines(download)));
    for (const artifact of course.artifacts) {
      const opened = await open(download, artifact);
      if (typeof opened === "string") {
        const { state } = await artifacts.load(call.workspaceId, artifact.artifactId);
        fates.push({ status: state.status, omitted: opened });
        continue;
      }
      const file = yield* put(artifact.path, opened);
      requireRecorded(artifact, file);
      files.push(file);
      fates.push({ status: "available", omitted: undefined });
    }
    yield* put(manifestPath, [manifestText(manifestOf(course, files, fates))]);
  }

  return {
    async *download(call, request, remoteAddress = "") {
      const download = await begin(call, request, remoteAddress);
      for await (const data of zip(entries(download))) yield { data };
    },
  };
}

/** Puts a file into the zip; returns it when it is written. Its source is closed, also when nobody reads on. */
async function* put(
  path: string,
  source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): AsyncGenerator<ZipEntry, BundledFile, void> {
  const { bytes, file } = measured(path, source);
  try {
    yield { path, bytes };
    return file();
  } finally {
    await bytes.return();
    // Of a file whose first byte was never read, the source was not begun and so not ended either.
    if (Symbol.asyncIterator in source) await source[Symbol.asyncIterator]().return?.();
  }
}

async function* lines({ call, records }: Download): AsyncGenerator<Uint8Array, void, void> {
  for await (const record of records()) yield eventLine(record);
  call.signal.throwIfAborted();
}

function requireFitting({ artifacts }: Course, runId: string): void {
  if (artifacts.length <= maxArtifacts) return;
  throw new SignalboxError(
    "PAYLOAD_TOO_LARGE",
    `run ${runId} has ${artifacts.length} artifacts, a bundle tells of ${maxArtifacts} at most; download them one by one`,
    { limit: String(maxArtifacts), size: String(artifacts.length) },
  );
}

/** The artifacts with these ids; all without any. */
function selected(course: Course, runId: string, ids: readonly string[]): ReadonlySet<AddedArtifact> {
  if (ids.length === 0) return new Set(course.artifacts);
  const byId = new Map(course.artifacts.map((artifact) => [artifact.artifactId, artifact]));
  return new Set(
    ids.map((id) => {
      const artifact = byId.get(id);
      if (artifact === undefined) {
        throw new SignalboxError("ARTIFACT_NOT_FOUND", `run ${runId} has no artifact ${id}`);
      }
      return artifact;
    }),
  );
}

/** What was read must be what the run's stream says, or the bundle would prove the opposite. */
function requireRecorded({ artifactId, sizeBytes, sha256 }: AddedArtifact, file: BundledFile): void {
  if (file.sha256 === sha256 && file.sizeBytes === sizeBytes) return;
  throw new SignalboxError(
    "ARTIFACT_CORRUPT",
    `the stored bytes of artifact ${artifactId} are not those that were stored`,
  );
}
