import { create } from "@bufbuild/protobuf";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { type Thread, ThreadSchema } from "../../gen/signalbox/v1/room_pb.ts";

/** The thread after an event of its stream or of one of its messages; undefined until it is created. Pure. */
export function evolveThread(thread: Thread | undefined, event: Event): Thread | undefined {
  const { payload, createTime, position } = event;
  if (payload.case === "threadCreated") {
    const { stream, roomId, actor } = event;
    const { title } = payload.value;
    return create(ThreadSchema, { threadId: stream?.id ?? "", roomId, title, createTime, createBy: actor, position });
  }
  if (thread === undefined) return undefined;
  if (payload.case !== "messagePosted") return { ...thread, position };
  return { ...thread, messageCount: thread.messageCount + 1n, lastMessageTime: createTime, position };
}
