import type { ClientBase } from "pg";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { EventRecord } from "../eventlog/record.ts";
import { createStateCache, type StateCache } from "../eventlog/state-cache.ts";
import { transaction } from "./postgres.ts";
import type { AnyProjection, Row } from "./projection.ts";

/** Rows kept in memory between batches, per projection, in bytes of the events that made them. */
const cacheBytes = 16 * 1024 * 1024;

/**
 * Rows that one statement writes, in bytes of the events that made them: small events may be about large rows. As a parameter
 * they are text of twice the size, which no string holds beyond half a GiB.
 */
const statementBytes = 8 * 1024 * 1024;

/** Writes batches of the log into the tables, each with its checkpoint in one transaction. */
export interface Projector {
  /** Where the tables stand. Also takes the checkpoint's row lock when called inside a transaction. */
  checkpoint(): Promise<bigint>;
  /**
   * Brings the tables from their checkpoint to the last of the records, which must follow on it without gap. Records at
   * or before the checkpoint are skipped, so redelivery changes nothing.
   */
  apply(records: readonly EventRecord[]): Promise<void>;
  /** The same as a part of the caller's transaction, which must be rolled back after an error. */
  applyWithin(records: readonly EventRecord[]): Promise<void>;
}

/** A row between batches. */
interface CachedRow {
  readonly row: Row<unknown>;
  readonly sizeBytes: number;
}

/** A projector on one connection, whose search_path says which schema it fills. */
export function createProjector(client: ClientBase, projections: readonly AnyProjection[]): Projector {
  const tables = projections.map((projection) => ({ projection, cache: createStateCache<CachedRow>(cacheBytes) }));
  // Which tables the caches were made from, and up to where; undefined when they hold nothing of worth.
  let cached: Place | undefined;

  async function lockPlace(): Promise<Place> {
    // The row lock comes first in every transaction: whoever swaps the tables waits here and nobody deadlocks.
    const { rows } = await client.query<Place>({
      name: "checkpoint_lock",
      text: "select tableoid as tables, position from checkpoints where name = 'projector' for update",
    });
    return rows[0] ?? { tables: 0, position: 0n };
  }

  async function applyWithin(records: readonly EventRecord[]): Promise<void> {
    const { tables: at, position: done } = await lockPlace();
    const fresh = records.filter(({ position }) => position > done);
    const [first, last] = [fresh.at(0), fresh.at(-1)];
    if (first === undefined || last === undefined) return;
    if (first.position !== done + 1n) {
      throw new Error(`the read models are at position ${done}, but the next event to project is ${first.position}`);
    }
    // The last batch was not committed, or somebody else moved the tables on: a rebuild that took their place.
    if (cached?.tables !== at || cached.position !== done) for (const { cache } of tables) cache.clear();
    cached = undefined;
    await insertEvents(client, fresh);
    for (const { projection, cache } of tables) await applyProjection(client, projection, fresh, cache);
    await client.query({
      name: "checkpoint_write",
      text: "update checkpoints set position = $1 where name = 'projector'",
      values: [last.position],
    });
    cached = { tables: at, position: last.position };
  }

  return {
    checkpoint: async () => (await lockPlace()).position,
    applyWithin,
    apply: (records) => transaction(client, () => applyWithin(records)),
  };
}

/** How far which tables are. */
interface Place {
  /** The oid of the checkpoints table: another one after the tables were swapped. */
  readonly tables: number;
  readonly position: bigint;
}

/** One row that one event changes. */
interface Touch {
  readonly record: EventRecord;
  readonly id: string;
  readonly key: string;
}

async function applyProjection(
  client: ClientBase,
  projection: AnyProjection,
  records: readonly EventRecord[],
  cache: StateCache<CachedRow>,
): Promise<void> {
  const touches = records.flatMap((record): Touch[] =>
    projection.idsOf(record.event).map((id) => ({ record, id, key: `${record.event.workspaceId}/${id}` })),
  );
  if (touches.length === 0) return;
  const rows = await loadRows(client, projection, touches, cache);
  const changed = new Map<string, CachedRow>();
  for (const { record, id, key } of touches) {
    const before = rows.get(key);
    const resource = projection.evolve(before?.row.resource, record.event, id);
    if (resource === undefined) continue;
    const after: CachedRow = {
      row: {
        workspaceId: record.event.workspaceId,
        id,
        resource,
        createPosition: before?.row.createPosition ?? record.position,
        lastPosition: record.position,
      },
      sizeBytes: (before?.sizeBytes ?? 0) + record.body.length,
    };
    rows.set(key, after);
    changed.set(key, after);
  }
  for (const written of statementsOf(changed.values())) {
    const { table, upsertText: text } = projection;
    await client.query({ name: `${table}_upsert`, text, values: projection.values(written) });
  }
  for (const [key, row] of changed) cache.set(key, row);
}

/** The rows in pieces that one statement can write; a single larger row is a piece of its own. */
function* statementsOf(changed: Iterable<CachedRow>): Generator<Row<unknown>[], void, void> {
  let rows: Row<unknown>[] = [];
  let bytes = 0;
  for (const { row, sizeBytes } of changed) {
    if (rows.length > 0 && bytes + sizeBytes > statementBytes) {
      yield rows;
      rows = [];
      bytes = 0;
    }
    rows.push(row);
    bytes += sizeBytes;
  }
  if (rows.length > 0) yield rows;
}

/** The rows to change as they are now, by key; those that are not there yet are left out. */
async function loadRows(
  client: ClientBase,
  projection: AnyProjection,
  touches: readonly Touch[],
  cache: StateCache<CachedRow>,
): Promise<Map<string, CachedRow>> {
  const found = new Map<string, CachedRow>();
  const wanted: Touch[] = [];
  // Of several touches of one row, the first says whether it can be there already.
  for (const touch of new Map(touches.toReversed().map((item) => [item.key, item])).values()) {
    const { record, id, key } = touch;
    const cached = cache.get(key);
    if (cached !== undefined) found.set(key, cached);
    else if (projection.precedesStream || !isFirstOf(id, record.event)) wanted.push(touch);
  }
  if (wanted.length === 0) return found;
  const { rows } = await client.query<{
    workspace_id: string;
    id: string;
    create_position: bigint;
    last_position: bigint;
    resource: Uint8Array;
  }>({
    name: `${projection.table}_load`,
    text: projection.loadText,
    values: [wanted.map(({ record }) => record.event.workspaceId), wanted.map(({ id }) => id)],
  });
  for (const loaded of rows) {
    const row = {
      workspaceId: loaded.workspace_id,
      id: loaded.id,
      resource: projection.decode(loaded.resource),
      createPosition: loaded.create_position,
      lastPosition: loaded.last_position,
    };
    found.set(`${row.workspaceId}/${row.id}`, { row, sizeBytes: loaded.resource.length });
  }
  return found;
}

/** The first event of a stream finds no row of the same name: no need to ask for what was never written. */
function isFirstOf(id: string, { streamSequence, stream }: EventRecord["event"]): boolean {
  return streamSequence === 1n && stream?.id === id;
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
  ["thread_id", "text", ({ event }) => event.threadId],
];

const insertEventsText =
  `insert into events (${eventColumns.map(([name]) => name).join(", ")}) ` +
  `select * from unnest(${eventColumns.map(([, type], index) => `$${index + 1}::${type}[]`).join(", ")})`;

async function insertEvents(client: ClientBase, records: readonly EventRecord[]): Promise<void> {
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
