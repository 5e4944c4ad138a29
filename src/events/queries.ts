import type { Db } from "../readmodel/postgres.ts";
import { cutRows } from "../readmodel/resource-page.ts";
import type { Selection } from "./filter.ts";

/** An event as the read model keeps it. */
export interface EventRow {
  readonly position: bigint;
  readonly body: Uint8Array;
  readonly prevHash: Uint8Array;
  readonly hash: Uint8Array;
}

interface RawRow {
  position: bigint;
  body: Uint8Array;
  prev_hash: Uint8Array;
  hash: Uint8Array;
}

const listText = cutRows(
  `
select position, body, prev_hash, hash from events
where workspace_id = $1 and position > $2
  and ($3 = '' or room_id = $3)
  and ($4 = '' or stream_type = $4 and stream_id = $5)
  and ($6::text[] = '{}' and $7::text[] = '{}' or type = any($6) or split_part(type, '.', 1) = any($7))
  and ($8 = '' or correlation_id = $8)
  and ($9 = '' or actor_id = $9)
  and ($10::timestamptz is null or create_time >= $10)
  and ($11::timestamptz is null or create_time < $11)
  and ($13 = '' or thread_id = $13)
order by position
limit $12`,
  { large: "body", columns: ["position", "prev_hash", "hash"], order: "position" },
);

/** Events in log order. */
export interface FoundEvents {
  readonly rows: EventRow[];
  /** Whether others follow. */
  readonly more: boolean;
}

/** Events of a selection behind a position: up to `size`, and up to 2 MiB; one at least. */
export async function listEvents(db: Db, selection: Selection, after: bigint, size: number): Promise<FoundEvents> {
  const { view, roomId, types, nouns, correlationId, threadId, actorId, startMs, endMs } = selection;
  const { rows } = await db.query<Omit<RawRow, "body"> & { body: Uint8Array | null }>({
    name: "events_list",
    text: listText,
    values: [
      view.workspaceId,
      after,
      roomId,
      view.stream?.type ?? "",
      view.stream?.id ?? "",
      types,
      nouns,
      correlationId,
      actorId,
      startMs === undefined ? null : new Date(startMs),
      endMs === undefined ? null : new Date(endMs),
      // One more tells whether others follow.
      size + 1,
      threadId,
    ],
  });
  const found: EventRow[] = [];
  for (const { body, ...row } of rows.slice(0, size)) {
    if (body === null) break;
    found.push(toRow({ ...row, body }));
  }
  return { rows: found, more: found.length < rows.length };
}

/** The event with this id in the workspace. */
export async function findEvent(db: Db, workspaceId: string, eventId: string): Promise<EventRow | undefined> {
  const { rows } = await db.query<RawRow>({
    name: "events_find",
    text: "select position, body, prev_hash, hash from events where workspace_id = $1 and event_id = $2",
    values: [workspaceId, eventId],
  });
  return rows[0] && toRow(rows[0]);
}

function toRow({ position, body, prev_hash: prevHash, hash }: RawRow): EventRow {
  return { position, body, prevHash, hash };
}
