import type pg from "pg";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { EventRecord } from "../eventlog/record.ts";
import { transaction } from "./postgres.ts";
import type { AnyProjection, Row } from "./projection.ts";

/** Rows kept in memory between batches, per projection. */
const cachedRows = 10_000;

/** Writes batches of the log into the tables, each with its checkpoint in one transaction. */
export interface Projector {
  /** Where the tables stand. Also takes the checkpoint's row lock when called inside a transaction. */
  checkpoint(): Promise<bigint>;
  /**
   * Brings the tables from their checkpoint to the last of the records, which must follow on it without gap. Records at
   * or before the checkpoint are skipped, so redelivery changes nothing.
   */
  apply(records: readonly EventRecord[]): Promise<void>;
}

/** A projector on one connection, whose search_path says which schema it fills. */
export function createProjector(client: pg.ClientBase, projections: readonly AnyProjection[]): Projector {
  const caches = new Map(projections.map((projection) => [projection.table, new Map<string, Row<unknown>>()]));

  async function checkpoint(): Promise<bigint> {
    // The row lock comes first in every transaction: whoever swaps the tables waits here and nobody deadlocks.
    const { rows } = await client.query<{ position: bigint }>({
      name: "checkpoint_lock",
      text: "select position from checkpoints where name = 'projector' for update",
    });
    return rows[0]?.position ?? 0n;
  }

  async function applyBatch(records: readonly EventRecord[]): Promise<void> {
    const done = await checkpoint();
    const fresh = records.filter(({ position }) => position > done);
    const last = fresh.at(-1);
    if (last === undefined) return;
    await insertEvents(client, fresh);
    for (const projection of projections) {
      await applyProjection(client, projection, fresh, caches.get(projection.table) ?? new Map());
    }
    await client.query({
      name: "checkpoint_write",
      text: "update checkpoints set position = $1 where name = 'projector'",
      values: [last.position],
    });
  }

  return {
    checkpoint,
    async apply(records) {
      try {
        await transaction(client, () => applyBatch(records));
      } catch (error) {
        // What the caches hold may not have been committed.
        for (const cache of caches.values()) cache.clear();
        throw error;
      }
    },
  };
}

async function applyProjection(
  client: pg.ClientBase,
  projection: AnyProjection,
  records: readonly EventRecord[],
  cache: Map<string, Row<unknown>>,
): Promise<void> {
  const touched = records.flatMap(({ event }) =>
    projection.idsOf(event).map((id) => ({ event, id, key: `${event.workspaceId}/${id}` })),
  );
  if (touched.length === 0) return;
  await loadMissing(client, projection, touched, cache);
  const changed = new Map<string, Row<unknown>>();
  for (const { event, id, key } of touched) {
    const before = changed.get(key) ?? cache.get(key);
    const resource = projection.evolve(before?.resource, event, id);
    if (resource === undefined) continue;
    changed.set(key, {
      workspaceId: event.workspaceId,
      id,
      resource,
      createPosition: before?.createPosition ?? event.position,
      lastPosition: event.position,
    });
  }
  if (changed.size === 0) return;
  await client.query({
    name: `${projection.table}_upsert`,
    text: projection.upsertText,
    values: projection.values([...changed.values()]),
  });
  for (const [key, row] of changed) {
    cache.delete(key);
    cache.set(key, row);
  }
  for (const key of cache.keys()) {
    if (cache.size <= cachedRows) break;
    cache.delete(key);
  }
}

async function loadMissing(
  client: pg.ClientBase,
  projection: AnyProjection,
  touched: readonly { event: { workspaceId: string; streamSequence: bigint }; id: string; key: string }[],
  cache: Map<string, Row<unknown>>,
): Promise<void> {
  // The first event of a stream has nothing before it: no need to ask for what was never written.
  const created = new Set(touched.filter(({ event }) => event.streamSequence === 1n).map(({ key }) => key));
  const missing = new Map(
    touched.filter(({ key }) => !cache.has(key) && !created.has(key)).map((item) => [item.key, item]),
  );
  if (missing.size === 0) return;
  const wanted = [...missing.values()];
  const { rows } = await client.query<{
    workspace_id: string;
    id: string;
    create_position: bigint;
    last_position: bigint;
    resource: Uint8Array;
  }>({
    name: `${projection.table}_load`,
    text: projection.loadText,
    values: [wanted.map(({ event }) => event.workspaceId), wanted.map(({ id }) => id)],
  });
  for (const row of rows) {
    cache.set(`${row.workspace_id}/${row.id}`, {
      workspaceId: row.workspace_id,
      id: row.id,
      resource: projection.decode(row.resource),
      createPosition: row.create_position,
      lastPosition: row.last_position,
    });
  }
}

const eventColumns: readonly (readonly [name: string, type: string, value: (record: EventRecord) => unknown])[] = [
  ["position", "bigint", (record) => record.position],
  ["event_id", "uuid", ({ event }) => event.eventId],
  ["workspace_id", "text", ({ event }) => event.workspaceId],
  ["room_id", "text", ({ event }) => event.roomId],
  ["stream_type", "text", ({ event }) => event.stream?.type],
  ["stream_id", "text", ({ event }) => event.stream?.id],
  ["stream_sequence", "bigint", ({ event }) => event.streamSequence],
  ["type", "text", ({ event }) => event.type],
  ["actor_id", "text", ({ event }) => event.actor?.id ?? ""],
  ["correlation_id", "text", ({ event }) => event.correlationId],
  ["create_time", "timestamptz", ({ event }) => eventTime(event)],
  ["body", "bytea", (record) => asBuffer(record.body)],
  ["prev_hash", "bytea", (record) => asBuffer(record.prevHash)],
  ["hash", "bytea", (record) => asBuffer(record.hash)],
];

const insertEventsText =
  `insert into events (${eventColumns.map(([name]) => name).join(", ")}) ` +
  `select * from unnest(${eventColumns.map(([, type], index) => `$${index + 1}::${type}[]`).join(", ")})`;

async function insertEvents(client: pg.ClientBase, records: readonly EventRecord[]): Promise<void> {
  await client.query({
    name: "events_insert",
    text: insertEventsText,
    values: eventColumns.map(([, , value]) => records.map((record) => value(record))),
  });
}

function eventTime(event: EventRecord["event"]): Date {
  return event.createTime ? timestampDate(event.createTime) : new Date(0);
}

/** node-postgres writes Buffers as bytea, but not every Uint8Array inside an array. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
