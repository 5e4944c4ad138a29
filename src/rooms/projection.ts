import {
  MessageSchema,
  ReadCursorSchema,
  RoomMemberSchema,
  RoomSchema,
  ThreadSchema,
} from "../../gen/signalbox/v1/room_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { principalName } from "../kernel/principal.ts";
import { type AnyProjection, eraseProjection } from "../readmodel/projection.ts";
import { evolveCursor } from "./cursor-resource.ts";
import { authorOf } from "./message-decider.ts";
import { evolveMessage } from "./message-resource.ts";
import { evolveMember, evolveRoom, memberNameOf } from "./room-resource.ts";
import { evolveThread } from "./thread-resource.ts";

const rooms = eraseProjection({
  table: "rooms",
  idColumn: "room_id",
  schema: RoomSchema,
  columns: [{ name: "status", type: "smallint", value: ({ status }) => status }],
  idsOf: idsOf("room"),
  evolve: evolveRoom,
});

const members = eraseProjection({
  table: "room_members",
  idColumn: "member_id",
  schema: RoomMemberSchema,
  columns: [{ name: "handle", type: "text", value: ({ handle }) => handle }],
  idsOf(event) {
    const name = memberNameOf(event);
    return name === undefined ? [] : [`${event.stream?.id}/${name}`];
  },
  evolve: evolveMember,
});

const threads = eraseProjection({
  table: "threads",
  idColumn: "thread_id",
  schema: ThreadSchema,
  columns: [{ name: "room_id", type: "text", value: ({ roomId }) => roomId }],
  idsOf({ stream, threadId }) {
    if (stream?.type === "thread") return [stream.id];
    return stream?.type === "message" && threadId !== "" ? [threadId] : [];
  },
  evolve: evolveThread,
});

const messages = eraseProjection({
  table: "messages",
  idColumn: "message_id",
  schema: MessageSchema,
  columns: [
    { name: "room_id", type: "text", value: ({ roomId }) => roomId },
    { name: "thread_id", type: "text", value: ({ threadId }) => threadId },
    { name: "status", type: "smallint", value: ({ status }) => status },
    { name: "author", type: "text", value: authorOf },
    { name: "run_id", type: "text", value: ({ runId }) => runId },
    {
      name: "mentions",
      type: "jsonb",
      value: ({ mentions }) =>
        JSON.stringify(mentions.flatMap(({ principal }) => (principal ? principalName(principal) : []))),
    },
    {
      name: "called_run_ids",
      type: "jsonb",
      value: ({ mentions }) => JSON.stringify(mentions.flatMap(({ runId }) => (runId === "" ? [] : runId))),
    },
  ],
  idsOf: idsOf("message"),
  evolve: evolveMessage,
});

const cursors = eraseProjection({
  table: "read_cursors",
  idColumn: "cursor_id",
  schema: ReadCursorSchema,
  columns: [
    { name: "room_id", type: "text", value: ({ roomId }) => roomId },
    { name: "principal", type: "text", value: ({ principal }) => principal },
    { name: "read_position", type: "bigint", value: ({ readPosition }) => readPosition },
  ],
  idsOf: idsOf("cursor"),
  evolve: evolveCursor,
});

/** The tables of this noun. */
export const roomProjections: readonly AnyProjection[] = [rooms, members, threads, messages, cursors];

function idsOf(type: string): (event: Event) => readonly string[] {
  return ({ stream }) => (stream?.type === type ? [stream.id] : []);
}
