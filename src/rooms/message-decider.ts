import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Principal, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import {
  MessageEditedSchema,
  MessagePostedSchema,
  MessageRedactedSchema,
} from "../../gen/signalbox/v1/room_event_pb.ts";
import type { Message, Mention } from "../../gen/signalbox/v1/room_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { equalBytes } from "../kernel/digest.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { personBehind, principalName } from "../kernel/principal.ts";
import type { MessageState, PostedMessage } from "./message-state.ts";

/** What is to be said. */
export interface NewMessage {
  readonly text: string;
  readonly mentions: readonly Mention[];
  /** True when agents were called that get no run, because there were too many answers in a row. */
  readonly mentionsRefused: boolean;
  /** Empty for the room itself. */
  readonly threadId: string;
  /** Empty for none. */
  readonly replyToMessageId: string;
  readonly mentionDepth: number;
  /** The room's. */
  readonly zone: Zone;
}

/** A posting request as the edge knows it. */
export interface Posting {
  readonly messageId: string;
  readonly requestId: string;
  /** SHA-256 of the request; empty without request_id. */
  readonly requestDigest: Uint8Array;
}

/** message.posted; nothing when the same request posted it before. REQUEST_ID_REUSED when another one did. */
export function postMessage(
  state: MessageState,
  { messageId, requestId, requestDigest }: Posting,
  message: NewMessage,
): Draft | undefined {
  if (state.status === "absent") return posted(message, { requestDigest });
  if (equalBytes(state.requestDigest, requestDigest)) return undefined;
  throw new SignalboxError(
    "REQUEST_ID_REUSED",
    `request_id ${JSON.stringify(requestId)} has posted ${messageId} with another body; use a new request_id`,
    { message_id: messageId },
  );
}

/** message.posted for the answer of a run; nothing when it was posted before, whatever it said. */
export function postAnswer(state: MessageState, runId: string, message: NewMessage): Draft | undefined {
  return state.status === "absent" ? posted(message, { runId }) : undefined;
}

/**
 * message.edited; nothing when it says that already. MESSAGE_NOT_FOUND, PERMISSION_DENIED for anybody but its author,
 * INVALID_STATE when it is redacted.
 */
export function editMessage(
  state: MessageState,
  { messageId, text, editor }: { messageId: string; text: string; editor: Principal },
): Draft | undefined {
  const { status, message, zone } = requireMessage(state, messageId);
  const author = authorOf(message);
  if (author !== principalName(personBehind(editor))) {
    throw new SignalboxError(
      "PERMISSION_DENIED",
      `message ${messageId} is of ${author}, and nobody else may edit it; redact it, or answer it`,
    );
  }
  if (status === "redacted") {
    throw new SignalboxError("INVALID_STATE", `message ${messageId} is redacted; post another one`, { status });
  }
  if (message.text === text) return undefined;
  return { payload: { case: "messageEdited", value: create(MessageEditedSchema, { text }) }, zone };
}

/** message.redacted; nothing when it is redacted already. MESSAGE_NOT_FOUND. */
export function redactMessage(state: MessageState, messageId: string, reason: string): Draft | undefined {
  const { status, zone } = requireMessage(state, messageId);
  if (status === "redacted") return undefined;
  return { payload: { case: "messageRedacted", value: create(MessageRedactedSchema, { reason }) }, zone };
}

/** The message, if it exists. MESSAGE_NOT_FOUND. */
export function requireMessage(state: MessageState, messageId: string): PostedMessage {
  if (state.status !== "absent") return state;
  // Unknown ids and ids of another tenant look the same.
  throw new SignalboxError("MESSAGE_NOT_FOUND", `message ${messageId} does not exist in this workspace`);
}

/** Who counts as the author of a message, as `user:alice`. */
export function authorOf({ createBy }: Pick<Message, "createBy">): string {
  return createBy === undefined ? "" : principalName(personBehind(createBy));
}

function posted(
  { zone, mentions, ...said }: NewMessage,
  more: Pick<MessageInitShape<typeof MessagePostedSchema>, "requestDigest" | "runId">,
): Draft {
  const value = create(MessagePostedSchema, { ...said, ...more, mentions: [...mentions] });
  return { payload: { case: "messagePosted", value }, zone };
}
