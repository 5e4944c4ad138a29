import {
  type Incident,
  type IncidentKind,
  IncidentSchema,
  type IncidentSeverity,
  type IncidentStatus,
} from "../../gen/signalbox/v1/incident_pb.ts";
import type { Page } from "../readmodel/page.ts";
import type { Db } from "../readmodel/postgres.ts";
import { findResources, type Found } from "../readmodel/resource-page.ts";

/** Which incidents to list. */
export interface IncidentQuery {
  readonly workspaceId: string;
  /** Keeps only these; empty keeps all. */
  readonly statuses: readonly IncidentStatus[];
  /** Empty for any. */
  readonly roomId: string;
  readonly minSeverity: IncidentSeverity;
  /** Keeps only these; empty keeps all. */
  readonly kinds: readonly IncidentKind[];
  readonly page: Page;
}

const newest = 2n ** 63n - 1n;

const listText =
  "select create_position, resource from incidents where workspace_id = $1 and create_position < $2 " +
  "and (cardinality($3::smallint[]) = 0 or status = any($3)) and ($4 = '' or room_id = $4) and severity >= $5 " +
  "and (cardinality($6::smallint[]) = 0 or kind = any($6)) order by create_position desc limit $7";

/** A page of incidents, newest first. */
export function listIncidents(db: Db, query: IncidentQuery): Promise<Found<Incident>> {
  const { workspaceId, statuses, roomId, minSeverity, kinds, page } = query;
  return findResources(db, {
    name: "incidents_list",
    text: listText,
    order: "desc",
    values: [workspaceId, page.after ?? newest, statuses, roomId, minSeverity, kinds, page.size + 1],
    schema: IncidentSchema,
    page,
  });
}

/** How many incidents a cause has had, as far as the table knows. */
export async function countOfCause(db: Db, workspaceId: string, cause: string): Promise<number> {
  const { rows } = await db.query<{ count: bigint }>({
    name: "incidents_of_cause",
    text: "select count(*) as count from incidents where workspace_id = $1 and cause = $2 and cause <> ''",
    values: [workspaceId, cause],
  });
  return Number(rows[0]?.count ?? 0n);
}
