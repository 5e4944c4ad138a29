import type { ClientBase, QueryResultRow } from "pg";
import { agentProjections } from "../../src/agents/projection.ts";
import { approvalProjections } from "../../src/approvals/projection.ts";
import { documentProjections } from "../../src/documents/projection.ts";
import { incidentProjections } from "../../src/incidents/projection.ts";
import { policyProjections } from "../../src/policy/projection.ts";
import { queueProjections } from "../../src/queues/projection.ts";
import type { EventRecord } from "../../src/eventlog/record.ts";
import type { Postgres } from "../../src/readmodel/postgres.ts";
import type { AnyProjection, Row } from "../../src/readmodel/projection.ts";
import { createProjector } from "../../src/readmodel/projector.ts";
import { roomProjections } from "../../src/rooms/projection.ts";
import { runProjections } from "../../src/runs/projection.ts";
import { scheduleProjections } from "../../src/schedules/projection.ts";
import { sessionProjections } from "../../src/sessions/projection.ts";

/** The projections of the program. */
export const projections: readonly AnyProjection[] = [
  ...runProjections,
  ...agentProjections,
  ...queueProjections,
  ...scheduleProjections,
  ...sessionProjections,
  ...documentProjections,
  ...approvalProjections,
  ...policyProjections,
  ...roomProjections,
  ...incidentProjections,
];

/** The rows of a statement. */
export async function rowsOf<R extends QueryResultRow>(
  postgres: Postgres,
  text: string,
  values: unknown[] = [],
): Promise<R[]> {
  return postgres.withClient(async (client) => (await client.query<R>(text, values)).rows);
}

/** Everything in every table of a schema, in a form that is equal only when every column of every row is. */
export async function dump(postgres: Postgres, schema: string): Promise<Record<string, string[]>> {
  return postgres.withClient(async (client) => {
    const found: Record<string, string[]> = {};
    for (const table of await tablesOf(client, schema)) {
      const text = `select t::text as line from ${schema}.${table} t order by t::text`;
      found[table] = (await client.query<{ line: string }>(text)).rows.map(({ line }) => line);
    }
    return found;
  });
}

async function tablesOf(client: ClientBase, schema: string): Promise<string[]> {
  const text = "select tablename from pg_tables where schemaname = $1 and tablename <> 'migrations' order by tablename";
  return (await client.query<{ tablename: string }>(text, [schema])).rows.map(({ tablename }) => tablename);
}

/** Brings the tables of the pool's schema up to the records, `batch` at a time. */
export async function project(postgres: Postgres, records: readonly EventRecord[], batch = 100): Promise<void> {
  await postgres.withClient(async (client) => {
    const projector = createProjector(client, projections);
    for (let i = 0; i < records.length; i += batch) await projector.apply(records.slice(i, i + batch));
  });
}

/** What the tables of the projections must hold after some records: the same fold, one event at a time, in memory. */
export function foldInMemory(records: readonly EventRecord[]): Record<string, string[]> {
  return Object.fromEntries(
    projections.map((projection) => {
      const rows = new Map<string, Row<unknown>>();
      for (const { event, position } of records) {
        for (const id of projection.idsOf(event)) {
          const key = `${event.workspaceId}/${id}`;
          const before = rows.get(key);
          const resource = projection.evolve(before?.resource, event, id);
          if (resource === undefined) continue;
          const createPosition = before?.createPosition ?? position;
          rows.set(key, { workspaceId: event.workspaceId, id, resource, createPosition, lastPosition: position });
        }
      }
      return [projection.table, linesOf(projection, [...rows.values()])];
    }),
  );
}

function linesOf(projection: AnyProjection, rows: readonly Row<unknown>[]): string[] {
  const [workspaceIds = [], ids = [], created = [], last = [], resources = []] = projection.values(rows);
  return rows
    .map(
      (_, i) =>
        `${String(workspaceIds[i])}/${String(ids[i])} ${String(created[i])}-${String(last[i])} ${(resources[i] as Buffer).toString("hex")}`,
    )
    .toSorted();
}

/** What the tables of the projections do hold, in the form of `foldInMemory`. */
export async function readTables(postgres: Postgres): Promise<Record<string, string[]>> {
  const found: Record<string, string[]> = {};
  for (const { table, idColumn } of tableNames) {
    const text = `select concat(workspace_id, '/', ${idColumn}, ' ', create_position, '-', last_position, ' ', encode(resource, 'hex')) as line from ${table}`;
    found[table] = (await rowsOf<{ line: string }>(postgres, text)).map(({ line }) => line).toSorted();
  }
  return found;
}

const tableNames = [
  { table: "runs", idColumn: "run_id" },
  { table: "steps", idColumn: "step_id" },
  { table: "tool_calls", idColumn: "tool_call_id" },
  { table: "agents", idColumn: "agent_id" },
  { table: "queues", idColumn: "name" },
  { table: "schedules", idColumn: "schedule_id" },
  { table: "sessions", idColumn: "session_id" },
  { table: "documents", idColumn: "document_id" },
  { table: "document_chunks", idColumn: "document_id" },
  { table: "approvals", idColumn: "approval_id" },
  { table: "policy_versions", idColumn: "version" },
  { table: "rooms", idColumn: "room_id" },
  { table: "room_members", idColumn: "member_id" },
  { table: "threads", idColumn: "thread_id" },
  { table: "messages", idColumn: "message_id" },
  { table: "read_cursors", idColumn: "cursor_id" },
  { table: "incidents", idColumn: "incident_id" },
];
