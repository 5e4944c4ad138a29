import { type AccessOutcome, type ArtifactAccess, ArtifactAccessSchema } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { Page } from "../readmodel/page.ts";
import type { Db } from "../readmodel/postgres.ts";
import { findResources, type Found } from "../readmodel/resource-page.ts";
import { digestText } from "./resource.ts";

/** Which lines of the access log to list. */
export interface AccessQuery {
  readonly workspaceId: string;
  /** Empty for any. */
  readonly artifactId: string;
  /** Empty for any. */
  readonly runId: string;
  /** Keeps only these; empty keeps all. */
  readonly outcomes: readonly AccessOutcome[];
  readonly page: Page;
}

/** Where a link leads, as the read model has it: whether it still holds is for the artifact's stream to say. */
export interface FoundLink {
  readonly workspaceId: string;
  readonly artifactId: string;
}

const newest = 2n ** 63n - 1n;

const listText =
  "select create_position, resource from artifact_accesses where workspace_id = $1 and create_position < $2 " +
  "and ($3 = '' or artifact_id = $3) and ($4 = '' or run_id = $4) " +
  "and (cardinality($5::smallint[]) = 0 or outcome = any($5)) order by create_position desc limit $6";

/** A page of the access log, newest first. */
export function listAccesses(db: Db, query: AccessQuery): Promise<Found<ArtifactAccess>> {
  const { workspaceId, artifactId, runId, outcomes, page } = query;
  return findResources(db, {
    name: "artifact_accesses_list",
    text: listText,
    order: "desc",
    values: [workspaceId, page.after ?? newest, artifactId, runId, outcomes, page.size + 1],
    schema: ArtifactAccessSchema,
    page,
  });
}

/** The link whose token has this digest, of whatever workspace; undefined when there is none (yet). */
export async function findLink(db: Db, tokenDigest: Uint8Array): Promise<FoundLink | undefined> {
  const { rows } = await db.query<{ workspace_id: string; artifact_id: string }>({
    name: "artifact_links_by_token",
    text: "select workspace_id, artifact_id from artifact_links where token_digest = $1",
    values: [digestText(tokenDigest)],
  });
  const [row] = rows;
  return row && { workspaceId: row.workspace_id, artifactId: row.artifact_id };
}
