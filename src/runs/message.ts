import { create } from "@bufbuild/protobuf";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { type RunMessage, RunMessageSchema } from "../../gen/signalbox/v1/run_pb.ts";
import { PersistentMap } from "../kernel/persistent-map.ts";

/** A message with a request_id, as a repeat has to find it. */
export interface SentMessage {
  /** The message without its content, which can be large. */
  readonly message: RunMessage;
  /** SHA-256 of the request. */
  readonly requestDigest: Uint8Array;
}

/** What was said to a run, without the contents. */
export interface Messages {
  readonly count: number;
  /** How many messages came from each thread. */
  readonly countOfThread: PersistentMap<number>;
  /** Those that may be repeated, by message id. */
  readonly repeatable: PersistentMap<SentMessage>;
}

/** Before anything was said. */
export const noMessages: Messages = { count: 0, countOfThread: new PersistentMap(), repeatable: new PersistentMap() };

/** The message that an event brought; undefined for every other event. Pure. */
export function messageOf({ payload, actor, createTime, position }: Event): RunMessage | undefined {
  if (payload.case !== "runMessageReceived") return undefined;
  const { messageId, threadId, number, content } = payload.value;
  return create(RunMessageSchema, { messageId, threadId, number, content, createBy: actor, createTime, position });
}

/** The messages after one more event. Pure. */
export function evolveMessages(messages: Messages, event: Event): Messages {
  const message = messageOf(event);
  if (message === undefined || event.payload.case !== "runMessageReceived") return messages;
  const { requestDigest } = event.payload.value;
  const { messageId, threadId, number } = message;
  return {
    count: messages.count + 1,
    countOfThread: messages.countOfThread.with(threadId, number),
    repeatable:
      requestDigest.length === 0
        ? messages.repeatable
        : messages.repeatable.with(messageId, {
            message: { ...message, content: undefined },
            // A copy: decoded bytes are a part of the event's, all of which they would keep in memory.
            requestDigest: requestDigest.slice(),
          }),
  };
}
