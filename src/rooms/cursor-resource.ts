import { create } from "@bufbuild/protobuf";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { type ReadCursor, ReadCursorSchema } from "../../gen/signalbox/v1/room_pb.ts";

/** The cursor after an event of its stream; undefined until it is moved. Pure. */
export function evolveCursor(cursor: ReadCursor | undefined, event: Event): ReadCursor | undefined {
  const { payload, createTime, position } = event;
  if (payload.case !== "cursorMoved") return cursor;
  const { roomId, principal, readPosition } = payload.value;
  return create(ReadCursorSchema, { roomId, principal, readPosition, updateTime: createTime, position });
}
