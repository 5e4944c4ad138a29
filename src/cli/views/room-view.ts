import { ZoneSchema } from "../../../gen/signalbox/v1/common_pb.ts";
import {
  type Message,
  type Room,
  type RoomMember,
  RoomStatusSchema,
  type Thread,
  type UnreadRoom,
} from "../../../gen/signalbox/v1/room_pb.ts";
import { enumName } from "../../kernel/enum-name.ts";
import { fields, table } from "./table.ts";
import { nameText, principalText, shorten, timeText } from "./values.ts";

/** Rooms below each other, one line each. */
export function roomTable(rooms: readonly Room[]): string {
  return table(
    ["ROOM", "STATUS", "NAME", "ZONE", "MEMBERS", "CREATED"],
    rooms.map((room) => [
      room.roomId,
      enumName(RoomStatusSchema, room.status),
      shorten(room.name, 60),
      enumName(ZoneSchema, room.zone),
      String(room.memberCount),
      timeText(room.createTime),
    ]),
  );
}

/** Everything that people want to know about a room. */
export function roomView(room: Room): string {
  return fields([
    ["room", room.roomId],
    ["name", shorten(room.name, 500)],
    ["topic", shorten(room.topic, 2_000)],
    ["status", enumName(RoomStatusSchema, room.status)],
    ["zone", enumName(ZoneSchema, room.zone)],
    ["members", String(room.memberCount)],
    ["etag", room.etag],
    ["created", `${timeText(room.createTime)} by ${principalText(room.createBy)}`],
    ["changed", timeText(room.updateTime)],
    ["position", String(room.position)],
  ]);
}

/** Members below each other, one line each. */
export function memberTable(members: readonly RoomMember[]): string {
  return table(
    ["HANDLE", "WHO", "SINCE", "ADDED BY"],
    members.map((member) => [
      `@${member.handle}`,
      nameText(member.principal),
      timeText(member.addTime),
      principalText(member.addBy),
    ]),
  );
}

/** Threads below each other, one line each. */
export function threadTable(threads: readonly Thread[]): string {
  return table(
    ["THREAD", "TITLE", "MESSAGES", "LAST", "CREATED"],
    threads.map((thread) => [
      thread.threadId,
      shorten(thread.title, 60),
      String(thread.messageCount),
      timeText(thread.lastMessageTime),
      timeText(thread.createTime),
    ]),
  );
}

/** Rooms with what is unread, one line each. */
export function unreadTable(rooms: readonly UnreadRoom[]): string {
  return table(
    ["ROOM", "NAME", "UNREAD", "MENTIONS", "READ UP TO"],
    rooms.map((room) => [
      room.roomId,
      shorten(room.name, 60),
      String(room.unreadCount),
      String(room.mentionCount),
      String(room.readPosition),
    ]),
  );
}

/** What became of a message that was posted: its id, and the runs of the agents that it mentions. */
export function postedText({ messageId, mentions }: Message): string {
  const runs = mentions
    .filter(({ runId }) => runId !== "")
    .map(({ handle, runId }) => `  @${handle} answers in ${runId}`);
  return [messageId, ...runs].join("\n");
}
