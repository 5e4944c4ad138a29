import { create, fromBinary } from "@bufbuild/protobuf";
import { RoomSchema, type UnreadRoom, UnreadRoomSchema } from "../../gen/signalbox/v1/room_pb.ts";
import type { Page } from "../readmodel/page.ts";
import type { Db } from "../readmodel/postgres.ts";

/** Whose rooms to count, and which. */
export interface UnreadQuery {
  readonly workspaceId: string;
  /** As `user:alice`. */
  readonly principal: string;
  /** Leaves out rooms without unread messages. */
  readonly onlyUnread: boolean;
  readonly page: Page;
}

/** A room as the query finds it. */
interface UnreadRow {
  readonly room_id: string;
  readonly resource: Uint8Array;
  readonly activity: bigint;
  readonly read_position: bigint;
  readonly last_position: bigint;
  readonly unread_count: bigint;
  readonly mention_count: bigint;
  readonly first_message_id: string | null;
}

// Counted are only those of the page, out of the index alone: whoever joins a room has all of it unread. Only messages with
// mentions are looked at themselves; together with the others that took seven times as long. Every room has a place of its own: positions of messages and rooms never meet.
const text = `
with mine as (
  select rooms.room_id, rooms.resource, coalesce(cursors.read_position, 0) as read_position,
    coalesce(last.create_position, 0) as last_position, coalesce(last.create_position, rooms.create_position) as activity
  from room_members as members
  join rooms using (workspace_id, room_id)
  left join read_cursors as cursors using (workspace_id, principal, room_id)
  left join lateral (
    select create_position from messages
    where workspace_id = $1 and room_id = rooms.room_id
    order by create_position desc limit 1
  ) as last on true
  where members.workspace_id = $1 and members.principal = $2 and members.handle <> ''
    and (not $3 or exists (
      select from messages
      where workspace_id = $1 and room_id = rooms.room_id and create_position > coalesce(cursors.read_position, 0)
        and author <> $2 and status <> 3
    ))
), listed as (
  select * from mine where activity < $4 order by activity desc limit $5
)
select listed.*, unread.unread_count, called.mention_count,
  (select message_id from messages
    where workspace_id = $1 and room_id = listed.room_id and create_position = unread.first_position) as first_message_id
from listed
cross join lateral (
  select count(*) as unread_count, min(create_position) as first_position
  from messages
  where workspace_id = $1 and room_id = listed.room_id and create_position > listed.read_position
    and author <> $2 and status <> 3
) as unread
cross join lateral (
  select count(*) as mention_count
  from messages
  where workspace_id = $1 and room_id = listed.room_id and create_position > listed.read_position
    and mentions <> '[]' and mentions ? $2 and author <> $2 and status <> 3
) as called
order by activity desc`;

/** A page of the rooms of which somebody is a member, that with the newest message first. Counts are exact. */
export async function listUnread(
  db: Db,
  { workspaceId, principal, onlyUnread, page }: UnreadQuery,
): Promise<{ rooms: UnreadRoom[]; nextPageToken: string }> {
  const { rows } = await db.query<UnreadRow>({
    name: "rooms_unread",
    text,
    values: [workspaceId, principal, onlyUnread, page.after ?? 2n ** 63n - 1n, page.size + 1],
  });
  // One row more than asked for tells whether another page follows.
  const listed = rows.slice(0, page.size);
  const last = rows.length > page.size ? listed.at(-1) : undefined;
  return { rooms: listed.map(toUnread), nextPageToken: last === undefined ? "" : page.tokenAfter(last.activity) };
}

function toUnread(row: UnreadRow): UnreadRoom {
  return create(UnreadRoomSchema, {
    roomId: row.room_id,
    name: fromBinary(RoomSchema, row.resource).name,
    unreadCount: row.unread_count,
    mentionCount: row.mention_count,
    readPosition: row.read_position,
    firstUnreadMessageId: row.first_message_id ?? "",
    lastPosition: row.last_position,
  });
}

/** How far somebody has read a room, as the tables have it; 0 when they never said. */
export async function readPosition(db: Db, workspaceId: string, principal: string, roomId: string): Promise<bigint> {
  const { rows } = await db.query<{ read_position: bigint }>({
    name: "cursors_find",
    text: "select read_position from read_cursors where workspace_id = $1 and principal = $2 and room_id = $3",
    values: [workspaceId, principal, roomId],
  });
  return rows[0]?.read_position ?? 0n;
}
