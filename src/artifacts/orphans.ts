import type { Logger } from "pino";
import type { BlobStore } from "../blobs/blob-store.ts";
import type { Aggregates } from "../eventlog/aggregates.ts";
import { createStateCache } from "../eventlog/state-cache.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import type { Clock } from "../kernel/clock.ts";
import type { Db } from "../readmodel/postgres.ts";
import { isInRun } from "./queries.ts";
import type { ArtifactState } from "./state.ts";

/** How long what no artifact names is left alone: longer than any upload takes. */
const defaultOrphanGraceMs = 25 * 60 * 60_000;
/** What is remembered of artifacts during a sweep, in bytes: what belongs to one is mostly listed together. */
const cacheBytes = 1024 * 1024;

/** What the sweep of orphans needs. */
export interface OrphansDeps {
  readonly aggregates: Aggregates<ArtifactState>;
  readonly blobs: Pick<BlobStore, "list" | "remove">;
  readonly keys: Pick<KeyRing, "list" | "destroy">;
  readonly db: Db;
  readonly clock: Clock;
  /** Default 25 hours. */
  readonly orphanGraceMs?: number | undefined;
  readonly log: Logger;
}

/** What an artifact keeps. */
interface Holding {
  readonly status: ArtifactState["status"];
  /** The blobs that it lists. */
  readonly blobs: ReadonlySet<string>;
  readonly sizeBytes: number;
}

/** What a sweep has taken away. */
export interface Swept {
  readonly keys: number;
  readonly blobs: number;
}

/**
 * Takes away keys and blobs that no artifact has any use for: those of purged artifacts at once, those of which the log knows
 * nothing when they are older than any upload. The tables must have everything up to the moment of the call. What the log's
 * leader knows decides, for each of them.
 */
export async function sweepOrphans(deps: OrphansDeps, signal: AbortSignal): Promise<Swept> {
  const { aggregates, blobs, keys, db, clock, orphanGraceMs = defaultOrphanGraceMs, log } = deps;
  const cache = createStateCache<Holding>(cacheBytes);
  const oldest = clock.now().getTime() - orphanGraceMs;

  async function holdingOf(workspaceId: string, artifactId: string): Promise<Holding> {
    const key = `${workspaceId}/${artifactId}`;
    const known = cache.get(key);
    if (known !== undefined) return known;
    const { state } = await aggregates.load(workspaceId, artifactId);
    const names = state.status === "absent" ? [] : state.parts.map(({ blob }) => blob);
    const holding = { status: state.status, blobs: new Set(names), sizeBytes: names.length * 200 };
    cache.set(key, holding);
    return holding;
  }

  /** True when nobody has any use for a key, or for the blob of that name. */
  async function isOrphan(workspaceId: string, artifactId: string, time: Date, blob?: string): Promise<boolean> {
    const { status, blobs: listed } = await holdingOf(workspaceId, artifactId);
    if (status === "purged") return true;
    if (time.getTime() > oldest) return false;
    if (status === "absent") return !(await isInRun(db, workspaceId, artifactId));
    return blob !== undefined && !listed.has(blob);
  }

  let keyCount = 0;
  for await (const { workspaceId, artifactId, createTime } of keys.list(signal)) {
    if (signal.aborted) break;
    if (!(await isOrphan(workspaceId, artifactId, createTime))) continue;
    // An upload that was given up may be taken up again just now: it keeps its key.
    await keys.destroy(workspaceId, artifactId, createTime);
    keyCount++;
  }
  let blobCount = 0;
  for await (const { name, storeTime } of blobs.list(signal)) {
    if (signal.aborted) break;
    const owner = ownerOf(name);
    // What is not named like ours was put there by somebody else.
    if (owner === undefined || !(await isOrphan(owner.workspaceId, owner.artifactId, storeTime, name))) continue;
    await blobs.remove(name);
    blobCount++;
  }
  if (keyCount + blobCount > 0) log.info({ keys: keyCount, blobs: blobCount }, "removed what no artifact needs");
  return { keys: keyCount, blobs: blobCount };
}

function ownerOf(blob: string): { workspaceId: string; artifactId: string } | undefined {
  const [, workspaceId, artifactId] = /^([^/]+)\/(art_[0-9A-Z]{26})\/[^/]+$/.exec(blob) ?? [];
  return workspaceId === undefined || artifactId === undefined ? undefined : { workspaceId, artifactId };
}
