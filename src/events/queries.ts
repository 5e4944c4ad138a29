import type { Db } from "../readmodel/postgres.ts";
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

const listText = `
select position, body, prev_hash, hash from events
where workspace_id = $1 and position > $2
  and ($3 = '' or room_id = $3)
  and ($4 = '' or stream_type = $4 and stream_id = $5)
  and ($6::text[] = '{}' and $7::text[] = '{}' or type = any($6) or split_part(type, '.', 1) = any($7))
  and ($8 = '' or correlation_id = $8)
  and ($9 = '' or actor_id = $9)
  and ($10::timestamptz is null or create_time >= $10)
  and ($11::timestamptz is null or create_time < $11)
order by position
limit $12`;

/** Up to `limit` events of a selection behind a position, in log order. */
export async function listEvents(db: Db, selection: Selection, after: bigint, limit: number): Promise<EventRow[]> {
  const { view, roomId, types, nouns, correlationId, actorId, startMs, endMs } = selection;
  const { rows } = await db.query<RawRow>({
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
      limit,
    ],
  });
  return rows.map(toRow);
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
