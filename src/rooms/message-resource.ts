import { create } from "@bufbuild/protobuf";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { type Message, MessageSchema, MessageStatus } from "../../gen/signalbox/v1/room_pb.ts";

/** The message after an event of its stream; undefined until it is posted. What was redacted is not in it any more. Pure. */
export function evolveMessage(message: Message | undefined, event: Event): Message | undefined {
  const { payload, roomId, createTime, actor, position } = event;
  if (payload.case === "messagePosted") {
    const { text, mentions, threadId, replyToMessageId, runId, mentionDepth } = payload.value;
    return create(MessageSchema, {
      messageId: event.stream?.id ?? "",
      roomId,
      threadId,
      text,
      status: MessageStatus.POSTED,
      mentions,
      createBy: actor,
      createTime,
      replyToMessageId,
      runId,
      mentionDepth,
      createPosition: position,
      position,
    });
  }
  if (message === undefined) return undefined;
  const changed = { ...message, updateTime: createTime, updateBy: actor, position };
  if (payload.case === "messageEdited") return { ...changed, text: payload.value.text, status: MessageStatus.EDITED };
  if (payload.case === "messageRedacted") {
    return { ...changed, text: "", status: MessageStatus.REDACTED, redactReason: payload.value.reason };
  }
  return message;
}
