import {
  type Message,
  MessageSchema,
  type Room,
  RoomSchema,
  type Thread,
  ThreadSchema,
} from "../../gen/signalbox/v1/room_pb.ts";
import type { Page } from "../readmodel/page.ts";
import type { Db } from "../readmodel/postgres.ts";
import { findResources, type Found } from "../readmodel/resource-page.ts";

/** Larger than every position. */
export const newest = 2n ** 63n - 1n;

const roomsText =
  "select create_position, resource from rooms " +
  // 2 archived.
  "where workspace_id = $1 and create_position < $2 and ($3 or status <> 2) order by create_position desc limit $4";

/** A page of rooms, newest first. */
export function listRooms(db: Db, workspaceId: string, archivedToo: boolean, page: Page): Promise<Found<Room>> {
  return findResources(db, {
    name: "rooms_list",
    text: roomsText,
    order: "desc",
    values: [workspaceId, page.after ?? newest, archivedToo, page.size + 1],
    schema: RoomSchema,
    page,
  });
}

const threadsText =
  "select create_position, resource from threads " +
  "where workspace_id = $1 and room_id = $2 and create_position < $3 order by create_position desc limit $4";

/** A page of a room's threads, newest first. */
export function listThreads(db: Db, workspaceId: string, roomId: string, page: Page): Promise<Found<Thread>> {
  return findResources(db, {
    name: "threads_list",
    text: threadsText,
    order: "desc",
    values: [workspaceId, roomId, page.after ?? newest, page.size + 1],
    schema: ThreadSchema,
    page,
  });
}

/** Which messages to list. */
export interface MessageQuery {
  readonly workspaceId: string;
  readonly roomId: string;
  /** Keeps only messages of this thread; empty keeps all. */
  readonly threadId: string;
  /** Keeps only messages posted behind it. */
  readonly afterPosition: bigint;
  readonly newestFirst: boolean;
  readonly page: Page;
}

const messagesText = (order: "asc" | "desc") =>
  "select create_position, resource from messages " +
  "where workspace_id = $1 and room_id = $2 and create_position > $3 and create_position < $4 " +
  `and ($5 = '' or thread_id = $5) order by create_position ${order} limit $6`;

/** A page of a room's messages, in the order of the log or the other way round. */
export function listMessages(db: Db, query: MessageQuery): Promise<Found<Message>> {
  const { workspaceId, roomId, threadId, afterPosition, newestFirst, page } = query;
  const order = newestFirst ? "desc" : "asc";
  const begin = afterPosition < newest ? afterPosition : newest;
  const above = newestFirst ? begin : (page.after ?? begin);
  const below = newestFirst ? (page.after ?? newest) : newest;
  return findResources(db, {
    name: `messages_list_${order}`,
    text: messagesText(order),
    order,
    values: [workspaceId, roomId, above, below, threadId, page.size + 1],
    schema: MessageSchema,
    page,
  });
}
