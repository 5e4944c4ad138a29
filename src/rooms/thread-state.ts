import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { Thread } from "../../gen/signalbox/v1/room_pb.ts";
import type { AggregateDefinition } from "../eventlog/aggregates.ts";
import { evolveThread } from "./thread-resource.ts";

/** What decisions about a thread rest on. Its messages are streams of their own, so it knows nothing of them. */
export type ThreadState =
  | { readonly status: "absent" }
  | {
      readonly status: "open";
      readonly thread: Thread;
      /** SHA-256 of the creating request; empty when it had no request_id. */
      readonly requestDigest: Uint8Array;
    };

/** Threads as aggregates. */
export const threadAggregate: AggregateDefinition<ThreadState> = {
  type: "thread",
  initial: { status: "absent" },
  evolve: evolveThreadState,
};

/** The state after one more event. Pure. */
export function evolveThreadState(state: ThreadState, event: Event): ThreadState {
  if (event.payload.case !== "threadCreated") return state;
  const thread = evolveThread(undefined, event);
  return thread === undefined ? state : { status: "open", thread, requestDigest: event.payload.value.requestDigest };
}
