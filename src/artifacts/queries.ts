import { fromBinary } from "@bufbuild/protobuf";
import {
  type Artifact,
  ArtifactPurpose,
  ArtifactSchema,
  type ArtifactStatus,
} from "../../gen/signalbox/v1/artifact_pb.ts";
import { type RunArtifactAdded, RunArtifactAddedSchema } from "../../gen/signalbox/v1/run_event_pb.ts";
import type { Page } from "../readmodel/page.ts";
import type { Db } from "../readmodel/postgres.ts";
import { findResources, type Found } from "../readmodel/resource-page.ts";

/** Which artifacts to list. What is empty keeps all. */
export interface ArtifactQuery {
  readonly workspaceId: string;
  readonly runId: string;
  readonly roomId: string;
  readonly statuses: readonly ArtifactStatus[];
  /** Empty keeps files. */
  readonly purposes: readonly ArtifactPurpose[];
  readonly name: string;
  readonly page: Page;
}

const listText = `
select create_position, resource from artifacts
where workspace_id = $1
  and ($2 = '' or run_id = $2)
  and ($3 = '' or room_id = $3)
  and ($4::smallint[] = '{}' or status = any($4))
  and purpose = any($5::smallint[])
  and ($6 = '' or name = $6)
  and ($7::bigint is null or create_position < $7)
order by create_position desc
limit $8`;

/** A page of artifacts, newest first. */
export function listArtifacts(db: Db, query: ArtifactQuery): Promise<Found<Artifact>> {
  const { workspaceId, runId, roomId, statuses, name, page } = query;
  const purposes = query.purposes.length === 0 ? [ArtifactPurpose.FILE] : query.purposes;
  return findResources(db, {
    name: "artifacts_list",
    text: listText,
    order: "desc",
    values: [workspaceId, runId, roomId, statuses, purposes, name, page.after ?? null, page.size + 1],
    schema: ArtifactSchema,
    page,
  });
}

/** What a workspace keeps, as of a position of the log. */
export interface StoredTotal {
  readonly artifactCount: bigint;
  readonly sizeBytes: bigint;
  readonly heldCount: bigint;
  readonly position: bigint;
}

const totalText = `
select count(*) as artifact_count, coalesce(sum(size_bytes), 0)::bigint as size_bytes,
  count(*) filter (where held) as held_count,
  (select position from checkpoints where name = 'projector') as position
from artifacts where workspace_id = $1 and status < 4`;

/** What a workspace keeps, deleted and expired artifacts included until they are purged. */
export async function storedTotal(db: Db, workspaceId: string): Promise<StoredTotal> {
  const { rows } = await db.query<{
    artifact_count: bigint;
    size_bytes: bigint;
    held_count: bigint;
    position: bigint | null;
  }>({ name: "artifacts_total", text: totalText, values: [workspaceId] });
  const [row] = rows;
  return {
    artifactCount: row?.artifact_count ?? 0n,
    sizeBytes: row?.size_bytes ?? 0n,
    heldCount: row?.held_count ?? 0n,
    position: row?.position ?? 0n,
  };
}

/** An artifact of which something becomes by itself. */
export interface DueArtifact {
  readonly workspaceId: string;
  readonly artifactId: string;
}

// The outputs of steps wait for their run to end, and for forks that have reused them: 1 to 4 are the statuses of runs that can
// still change.
const expiringText = `
select workspace_id, artifact_id from artifacts
where status = 1 and not held and expire_time <= $1
  and (purpose <> 2 or not exists (
    select from runs
    where runs.workspace_id = artifacts.workspace_id and runs.run_id = artifacts.run_id and runs.status <= 4)
  and not exists (
    select from reused_outputs join runs using (workspace_id, run_id)
    where reused_outputs.workspace_id = artifacts.workspace_id and reused_outputs.artifact_id = artifacts.artifact_id
      and runs.status <= 4))
order by expire_time limit $2`;

/** Up to `limit` artifacts whose time is over by then, the earliest first. */
export function expiringArtifacts(db: Db, by: Date, limit: number): Promise<DueArtifact[]> {
  return due(db, "artifacts_expiring", expiringText, [by, limit]);
}

const reusingText = `
select run_id from reused_outputs join runs using (workspace_id, run_id)
where workspace_id = $1 and artifact_id = $2 and runs.status <= 4
limit 1`;

/** A run that can still change and has reused this output of a step of another run; undefined for none. */
export async function reusingRun(db: Db, workspaceId: string, artifactId: string): Promise<string | undefined> {
  const { rows } = await db.query<{ run_id: string }>({
    name: "artifacts_reusing",
    text: reusingText,
    values: [workspaceId, artifactId],
  });
  return rows[0]?.run_id;
}

const goingText = `
select workspace_id, artifact_id from artifacts
where status in (2, 3) and not held and purge_time <= $1
order by purge_time limit $2`;

/** Up to `limit` deleted or expired artifacts that nobody can restore any more by then, the earliest first. */
export function goingArtifacts(db: Db, by: Date, limit: number): Promise<DueArtifact[]> {
  return due(db, "artifacts_going", goingText, [by, limit]);
}

async function due(db: Db, name: string, text: string, values: unknown[]): Promise<DueArtifact[]> {
  const { rows } = await db.query<{ workspace_id: string; artifact_id: string }>({ name, text, values });
  return rows.map((row) => ({ workspaceId: row.workspace_id, artifactId: row.artifact_id }));
}

/** An artifact that its run has recorded, and that has no stream of its own yet. */
export interface PendingArtifact {
  readonly workspaceId: string;
  readonly added: RunArtifactAdded;
}

interface PendingRow {
  workspace_id: string;
  resource: Uint8Array;
}

const toPending = (row: PendingRow): PendingArtifact => ({
  workspaceId: row.workspace_id,
  added: fromBinary(RunArtifactAddedSchema, row.resource),
});

const pendingText = "select workspace_id, resource from run_artifacts where pending order by create_position limit $1";

/** Up to `limit` artifacts that only their runs have recorded, oldest first. */
export async function pendingArtifacts(db: Db, limit: number): Promise<PendingArtifact[]> {
  const { rows } = await db.query<PendingRow>({
    name: "artifacts_pending",
    text: pendingText,
    values: [limit],
  });
  return rows.map(toPending);
}

/** True when some run has recorded an artifact of this id. */
export async function isInRun(db: Db, workspaceId: string, artifactId: string): Promise<boolean> {
  const { rows } = await db.query({
    name: "artifacts_in_run",
    text: "select from run_artifacts where workspace_id = $1 and artifact_id = $2",
    values: [workspaceId, artifactId],
  });
  return rows.length > 0;
}
