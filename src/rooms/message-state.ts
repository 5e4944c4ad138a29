import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { type Message, MessageStatus } from "../../gen/signalbox/v1/room_pb.ts";
import type { AggregateDefinition } from "../eventlog/aggregates.ts";
import { evolveMessage } from "./message-resource.ts";

/** A message that was posted. */
export interface KnownMessage {
  readonly message: Message;
  /** The room's when it was posted. */
  readonly zone: Zone;
  /** What ties it to what it sets in motion. */
  readonly correlationId: string;
  /** The W3C trace context of its posting; empty for none. */
  readonly traceparent: string;
  /** SHA-256 of the posting request; empty when it had no request_id. */
  readonly requestDigest: Uint8Array;
}

/** A message as decisions see it. */
export type PostedMessage = KnownMessage & { readonly status: "shown" | "redacted" };

/** What decisions about a message rest on. */
export type MessageState = { readonly status: "absent" } | PostedMessage;

/** Messages as aggregates, one each: those who post do not wait for each other. */
export const messageAggregate: AggregateDefinition<MessageState> = {
  type: "message",
  initial: { status: "absent" },
  evolve: evolveMessageState,
};

/** The state after one more event. Pure. */
export function evolveMessageState(state: MessageState, event: Event): MessageState {
  const before = state.status === "absent" ? undefined : state;
  const message = evolveMessage(before?.message, event);
  if (message === undefined) return state;
  const status = message.status === MessageStatus.REDACTED ? "redacted" : "shown";
  if (before !== undefined) return { ...before, status, message };
  const { payload, zone, correlationId, traceparent } = event;
  const requestDigest = payload.case === "messagePosted" ? payload.value.requestDigest : new Uint8Array();
  return { status, message, zone: zone || Zone.SANDBOX, correlationId, traceparent, requestDigest };
}
