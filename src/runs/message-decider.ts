import { create } from "@bufbuild/protobuf";
import type { Value } from "@bufbuild/protobuf/wkt";
import { RunMessageReceivedSchema } from "../../gen/signalbox/v1/run_event_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { equalBytes } from "../kernel/digest.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { hasEnded, isOpen, runNotFound } from "./decider.ts";
import type { RunState } from "./state.ts";

/** Messages that one run gets at most. */
export const maxMessagesPerRun = 10_000;

/** Something to be said to a run. */
export interface NewMessage {
  readonly messageId: string;
  /** Empty for none. */
  readonly threadId: string;
  readonly content: Value | undefined;
  /** SHA-256 of the request; empty without request_id. */
  readonly requestDigest: Uint8Array;
}

/**
 * run.message_received; nothing when the same request sent it before. RUN_NOT_FOUND, REQUEST_ID_REUSED when another request
 * did, INVALID_STATE when the run has ended, QUOTA_EXCEEDED.
 */
export function receiveMessage(state: RunState, runId: string, message: NewMessage): Draft | undefined {
  if (state.status === "absent") throw runNotFound(runId);
  const { messageId, threadId, content, requestDigest } = message;
  const sent = state.messages.repeatable.get(messageId);
  if (sent !== undefined) {
    if (equalBytes(sent.requestDigest, requestDigest)) return undefined;
    throw new SignalboxError(
      "REQUEST_ID_REUSED",
      `this request_id has sent ${messageId} with another body; use a new request_id`,
      { message_id: messageId },
    );
  }
  if (!isOpen(state)) throw hasEnded(state, "takes no more messages");
  if (state.messages.count >= maxMessagesPerRun) {
    throw new SignalboxError("QUOTA_EXCEEDED", `a run can get ${maxMessagesPerRun} messages; start another run`, {
      limit: String(maxMessagesPerRun),
    });
  }
  const number = (state.messages.countOfThread.get(threadId) ?? 0) + 1;
  const value = create(RunMessageReceivedSchema, { messageId, threadId, number, content, requestDigest });
  return { payload: { case: "runMessageReceived", value }, zone: state.run.zone };
}
