import { create } from "@bufbuild/protobuf";
import type { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { ThreadCreatedSchema } from "../../gen/signalbox/v1/room_event_pb.ts";
import type { Thread } from "../../gen/signalbox/v1/room_pb.ts";
import type { CreateThreadRequest } from "../../gen/signalbox/v1/room_service_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { equalBytes } from "../kernel/digest.ts";
import { SignalboxError } from "../kernel/errors.ts";
import type { ThreadState } from "./thread-state.ts";

/** A creating request and what the edge knows about it. */
export interface NewThread {
  readonly threadId: string;
  readonly request: CreateThreadRequest;
  /** The room's. */
  readonly zone: Zone;
  /** SHA-256 of the request; empty without request_id. */
  readonly requestDigest: Uint8Array;
}

/** thread.created; nothing when the same request created it before. REQUEST_ID_REUSED when another one did. */
export function createThread(
  state: ThreadState,
  { threadId, request, zone, requestDigest }: NewThread,
): Draft | undefined {
  if (state.status === "absent") {
    const value = create(ThreadCreatedSchema, { title: request.title, requestDigest });
    return { payload: { case: "threadCreated", value }, zone };
  }
  if (equalBytes(state.requestDigest, requestDigest)) return undefined;
  throw new SignalboxError(
    "REQUEST_ID_REUSED",
    `request_id ${JSON.stringify(request.requestId)} has created ${threadId} with another body; use a new request_id`,
    { thread_id: threadId },
  );
}

/** The thread, if it is one of the room. THREAD_NOT_FOUND. */
export function requireThread(state: ThreadState, roomId: string, threadId: string): Thread {
  if (state.status === "open" && state.thread.roomId === roomId) return state.thread;
  throw new SignalboxError("THREAD_NOT_FOUND", `thread ${threadId} does not exist in room ${roomId}`);
}
