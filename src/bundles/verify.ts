import { equalBytes } from "../kernel/digest.ts";
import type { AddedArtifact, Course, EvolveRun } from "./course.ts";
import { eventsPath, manifestPath, type Omission, runPath, runText, type Standing } from "./format.ts";
import { type BundledFile, type Manifest, manifestOf, manifestText, readManifest } from "./manifest.ts";
import { measured } from "./measure.ts";
import { BundleProblem } from "./problem.ts";
import { verifyContainer } from "./verify-container.ts";
import { readEvents } from "./verify-events.ts";
import { openZipReader, type ZipReader } from "./zip-reader.ts";

/** Room for 10,000 artifacts with long names, which the manifest says twice. */
const maxManifestBytes = 32 * 1024 * 1024;

/** What a bundle is, after everything in it was found to fit. */
export interface VerifiedBundle {
  readonly workspaceId: string;
  readonly runId: string;
  readonly eventCount: number;
  /** Of the run's last event in it. */
  readonly headPosition: bigint;
  /** Of the run's last event in it, in lower-case hex. */
  readonly headHash: string;
  /** True when `headHash` is the one that was given. */
  readonly isPinned: boolean;
  readonly sizeBytes: number;
  /** All artifacts of the run, in the order in which they were added. */
  readonly artifacts: readonly VerifiedArtifact[];
}

/** An artifact of the run. */
export interface VerifiedArtifact {
  readonly artifactId: string;
  readonly name: string;
  readonly sizeBytes: bigint;
  /** As the run's event says, in lower-case hex; the bytes in the bundle, if there are any, have it. */
  readonly sha256: string;
  /** What the server said when it made the bundle. */
  readonly status: Standing;
  /** Why its bytes are not there; undefined when they are. */
  readonly omitted: Omission | undefined;
}

/** How to verify. */
export interface VerifyOptions {
  readonly evolveRun: EvolveRun;
  /** The hash that the run's last event must have, in lower-case hex, known from elsewhere. Unset for not known. */
  readonly head?: string;
}

/**
 * Verifies a bundle, with nothing but the bundle: its hash chain, every readable form, run.json, the manifest, every file's
 * SHA-256, and each byte of the zip around them. Takes no more memory for a large bundle than for a small one. Throws
 * BundleProblem, which names the first thing that does not fit; trouble with reading the file comes out as it is.
 */
export async function verifyBundle(path: string, { evolveRun, head }: VerifyOptions): Promise<VerifiedBundle> {
  await using reader = await openZipReader(path);
  requireShape(reader.paths);
  const manifestBytes = await readManifestBytes(reader);
  const manifest = parseManifest(manifestBytes);
  const events = measured(eventsPath, reader.read(eventsPath));
  const course = await readEvents(events.bytes, manifest, evolveRun);
  requireHead(course, manifest, head);
  const files = [await verifyRun(reader, course), events.file(), ...(await verifyArtifacts(reader, course, manifest))];
  requireManifest(manifest, manifestBytes, course, files);
  await verifyContainer(reader);
  const { workspaceId, runId, eventCount, headHash } = manifest;
  return {
    workspaceId,
    runId,
    eventCount,
    headPosition: course.headPosition,
    headHash,
    isPinned: head !== undefined,
    sizeBytes: reader.sizeBytes,
    artifacts: course.artifacts.map((artifact, i) => verifiedArtifact(artifact, manifest.artifacts[i])),
  };
}

function requireShape(paths: readonly string[]): void {
  const shape = [
    [0, runPath],
    [1, eventsPath],
    [-1, manifestPath],
  ] as const;
  for (const [index, path] of shape) {
    if (paths.at(index) !== path)
      throw new BundleProblem("zip", path, `${path} is not in its place: this is no bundle`);
  }
}

async function readManifestBytes(reader: ZipReader): Promise<Uint8Array> {
  if (reader.sizeOf(manifestPath) > maxManifestBytes) {
    throw new BundleProblem("manifest", manifestPath, `${manifestPath} has more than ${maxManifestBytes} bytes`);
  }
  return Buffer.concat(await Array.fromAsync(reader.read(manifestPath)));
}

function parseManifest(bytes: Uint8Array): Manifest {
  try {
    return readManifest(bytes);
  } catch (error) {
    const message = "this is no manifest of a bundle that this Signalbox knows: it was changed, or a newer one made it";
    throw new BundleProblem("manifest", manifestPath, message, error);
  }
}

function requireHead(course: Course, manifest: Manifest, pinned: string | undefined): void {
  const headHash = Buffer.from(course.headHash).toString("hex");
  const { eventCount, headPosition } = course;
  if (manifest.eventCount !== eventCount || manifest.headPosition !== String(headPosition)) {
    const message = `the manifest says ${manifest.eventCount} events up to position ${manifest.headPosition}, there are ${eventCount} up to ${headPosition}`;
    throw new BundleProblem("manifest", manifestPath, message);
  }
  if (manifest.headHash !== headHash) {
    throw new BundleProblem("manifest", manifestPath, "the manifest's head hash is not that of the last event");
  }
  if (pinned !== undefined && pinned !== headHash) {
    const message = `the last event has the hash ${headHash}, not ${pinned}: this is another history, or one that ends elsewhere`;
    throw new BundleProblem("head", eventsPath, message);
  }
}

async function verifyRun(reader: ZipReader, { run }: Course): Promise<BundledFile> {
  const expected = run === undefined ? new Uint8Array() : runText(run);
  const problem = new BundleProblem("run", runPath, `${runPath} is not what the events say`);
  if (reader.sizeOf(runPath) !== expected.length) throw problem;
  const { bytes, file } = measured(runPath, reader.read(runPath));
  let at = 0;
  for await (const chunk of bytes) {
    if (!equalBytes(chunk, expected.subarray(at, at + chunk.length))) throw problem;
    at += chunk.length;
  }
  return file();
}

/** The files of the artifacts, each with the bytes that the run's event says. */
async function verifyArtifacts(reader: ZipReader, course: Course, manifest: Manifest): Promise<BundledFile[]> {
  const files: BundledFile[] = [];
  // Behind run.json and events.jsonl, before the manifest.
  const paths = reader.paths.slice(2, -1);
  for (const [index, artifact] of course.artifacts.entries()) {
    const { path, artifactId } = artifact;
    const entry = manifest.artifacts[index];
    if (entry?.artifactId !== artifactId) {
      const message = `the manifest does not say what became of artifact ${artifactId}, which the events add`;
      throw new BundleProblem("manifest", manifestPath, message);
    }
    if (entry.omitted !== undefined) continue;
    if (paths[files.length] !== path) {
      const message = `the bytes of artifact ${artifactId}, which the manifest says are in the bundle, are not in their place`;
      throw new BundleProblem("artifact", path, message);
    }
    files.push(await verifyArtifact(reader, artifact));
  }
  const stray = paths[files.length];
  if (stray !== undefined) {
    throw new BundleProblem("artifact", stray, `${stray} is no artifact that the manifest says is in the bundle`);
  }
  return files;
}

async function verifyArtifact(reader: ZipReader, { path, sizeBytes, sha256 }: AddedArtifact): Promise<BundledFile> {
  const { bytes, file } = measured(path, reader.read(path));
  for await (const _chunk of bytes);
  const found = file();
  if (found.sizeBytes !== sizeBytes || found.sha256 !== sha256) {
    const message = `the file has ${found.sizeBytes} bytes with SHA-256 ${found.sha256}; the run added ${sizeBytes} with ${sha256}`;
    throw new BundleProblem("artifact", path, message);
  }
  return found;
}

/** Whatever else the manifest says must be what follows from the events and the files; only what became of artifacts is its own. */
function requireManifest(manifest: Manifest, bytes: Uint8Array, course: Course, files: readonly BundledFile[]): void {
  const fates = manifest.artifacts.map(({ status, omitted }) => ({ status, omitted }));
  const expected = manifestOf(course, files, fates);
  for (const [index, file] of expected.files.entries()) {
    const said = manifest.files[index];
    if (said?.path !== file.path || said.sizeBytes !== file.sizeBytes || said.sha256 !== file.sha256) {
      const message = `${file.path} has ${file.sizeBytes} bytes with SHA-256 ${file.sha256}; the manifest says otherwise`;
      throw new BundleProblem("manifest", file.path, message);
    }
  }
  if (!equalBytes(manifestText(expected), bytes)) {
    const message = "the manifest says more or other things than follow from the events and the files";
    throw new BundleProblem("manifest", manifestPath, message);
  }
}

function verifiedArtifact(artifact: AddedArtifact, entry: Manifest["artifacts"][number] | undefined): VerifiedArtifact {
  const { artifactId, name, sizeBytes, sha256 } = artifact;
  return { artifactId, name, sizeBytes, sha256, status: entry?.status ?? "absent", omitted: entry?.omitted };
}
