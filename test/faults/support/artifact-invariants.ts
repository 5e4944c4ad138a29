import { createHash } from "node:crypto";
import type { ArtifactCreated } from "../../../gen/signalbox/v1/artifact_event_pb.ts";
import type { BlobStore } from "../../../src/blobs/blob-store.ts";
import type { KeyRing } from "../../../src/keys/key-ring.ts";
import { sealedSize } from "../../../src/sealing/format.ts";
import { openSealed } from "../../../src/sealing/open-sealed.ts";
import type { LogEvent, Violation } from "../../support/invariants.ts";

/** Where bytes and keys are. */
export interface Stored {
  readonly blobs: Pick<BlobStore, "list" | "read">;
  readonly keys: Pick<KeyRing, "list" | "open">;
}

/** An artifact as the log has it. */
interface Named {
  readonly workspaceId: string;
  readonly artifactId: string;
  /** The event that names it: artifact.created, or run.artifact_added without one. */
  readonly by: LogEvent;
  readonly artifact: ArtifactCreated;
  readonly isPurged: boolean;
}

/**
 * I9, at any moment, that of a crash included: what an event names is there, opens with its key, and hashes right. What is purged may
 * be there still, unless everything has been `swept` since with no grace for orphans: then nothing is left of it, and nothing is there
 * that no event names.
 */
export async function checkArtifacts(
  log: readonly LogEvent[],
  stored: Stored,
  { swept = false }: { readonly swept?: boolean } = {},
): Promise<Violation[]> {
  const named = namedArtifacts(log);
  const destroyed = destroyedKeys(log);
  const problems: Violation[] = [...checkCopies(log)];
  for (const each of named.values()) {
    if (each.isPurged || isShredded(each, destroyed)) continue;
    for (const problem of await wrongBytes(each, stored)) problems.push(violation(each.by.name, problem));
  }
  return swept ? [...problems, ...(await leftOvers(named, stored))] : problems;
}

/** Every artifact that some event names, by workspace and id. */
function namedArtifacts(log: readonly LogEvent[]): Map<string, Named> {
  const named = new Map<string, Named>();
  for (const by of log) {
    const { event } = by;
    const { workspaceId, payload } = event;
    if (payload.case === "runArtifactAdded" && payload.value.artifact !== undefined) {
      const { artifactId, artifact } = payload.value;
      const key = `${workspaceId}/${artifactId}`;
      if (!named.has(key)) named.set(key, { workspaceId, artifactId, by, artifact, isPurged: false });
    }
    const artifactId = event.stream?.id ?? "";
    const key = `${workspaceId}/${artifactId}`;
    if (payload.case === "artifactCreated") {
      named.set(key, { workspaceId, artifactId, by, artifact: payload.value, isPurged: false });
    }
    const before = named.get(key);
    if (payload.case === "artifactPurged" && before) named.set(key, { ...before, isPurged: true });
  }
  return named;
}

/** An artifact is what its run has recorded, to the last byte. */
function* checkCopies(log: readonly LogEvent[]): Generator<Violation> {
  const created = new Map<string, LogEvent>();
  for (const entry of log) {
    if (entry.event.payload.case === "artifactCreated") created.set(streamKey(entry), entry);
  }
  for (const { event, name } of log) {
    if (event.payload.case !== "runArtifactAdded") continue;
    const { artifactId, artifact } = event.payload.value;
    const copy = created.get(`${event.workspaceId}/${artifactId}`)?.event.payload;
    if (copy?.case !== "artifactCreated") continue;
    const { runId, sha256, parts } = copy.value;
    const isSame =
      runId === artifact?.runId && sha256 === artifact.sha256 && parts[0]?.blob === artifact.parts[0]?.blob;
    if (!isSame) yield violation(name, `${artifactId} was created as another artifact than this one`);
  }
}

function streamKey({ event }: LogEvent): string {
  return `${event.workspaceId}/${event.stream?.id ?? ""}`;
}

/** Where the keys of each workspace were last destroyed on purpose. */
function destroyedKeys(log: readonly LogEvent[]): Map<string, bigint> {
  const at = new Map<string, bigint>();
  for (const { event, position } of log) {
    if (event.payload.case === "workspaceKeyDestroyed") at.set(event.workspaceId, position);
  }
  return at;
}

function isShredded({ workspaceId, by }: Named, destroyed: ReadonlyMap<string, bigint>): boolean {
  return by.position < (destroyed.get(workspaceId) ?? 0n);
}

async function wrongBytes({ workspaceId, artifactId, artifact }: Named, { blobs, keys }: Stored): Promise<string[]> {
  const { parts, sizeBytes, sha256, encryption } = artifact;
  const total = parts.reduce((sum, part) => sum + part.sizeBytes, 0n);
  if (total !== sizeBytes) return [`its parts have ${total} bytes, not ${sizeBytes}`];
  const key = await keys.open(workspaceId, artifactId);
  if (key.state === "missing" || key.state === "destroyed") return [`its key is ${key.state}`];
  const isAway = key.state === "sealed";
  if (isAway !== (encryption?.recipient !== "")) return [`its key is ${key.state}`];
  const hash = createHash("sha256");
  for (const { blob, sizeBytes: partBytes } of parts) {
    const size = Number(partBytes);
    const read = (range: { from: number; to: number }) => blobs.read(blob, range);
    // What only its recipient can open is there as a whole; that is all that can be seen.
    const bytes = isAway
      ? read({ from: 0, to: sealedSize(size) })
      : openSealed({ key: key.key, context: blob, sizeBytes: size }, { from: 0, to: size }, read);
    try {
      for await (const piece of bytes) hash.update(piece);
    } catch (error) {
      return [`blob ${blob}: ${error instanceof Error ? error.message : String(error)}`];
    }
  }
  const actual = hash.digest("hex");
  return isAway || actual === sha256 ? [] : [`its bytes have the SHA-256 ${actual}, not ${sha256}`];
}

/** What is in the stores though nothing needs it. */
async function leftOvers(named: ReadonlyMap<string, Named>, { blobs, keys }: Stored): Promise<Violation[]> {
  const alive = [...named].filter(([, { isPurged }]) => !isPurged);
  const wanted = new Set(alive.flatMap(([, { artifact }]) => artifact.parts.map(({ blob }) => blob)));
  const owners = new Set(alive.map(([key]) => key));
  const found: Violation[] = [];
  for await (const { name } of blobs.list()) {
    if (!wanted.has(name)) found.push(violation(`blob ${name}`, "is there, though no artifact needs it"));
  }
  for await (const { workspaceId, artifactId } of keys.list()) {
    if (owners.has(`${workspaceId}/${artifactId}`)) continue;
    found.push(violation(`the key of ${workspaceId}/${artifactId}`, "is there, though no artifact needs it"));
  }
  return found;
}

function violation(at: string, problem: string): Violation {
  return { invariant: "I9", at, problem };
}
