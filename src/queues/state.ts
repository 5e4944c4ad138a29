import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { Queue } from "../../gen/signalbox/v1/queue_pb.ts";
import type { AggregateDefinition } from "../eventlog/aggregates.ts";
import { evolveQueue } from "./resource.ts";

/** What decisions about a queue's settings rest on. */
export type QueueState = { readonly status: "absent" } | { readonly status: "present"; readonly queue: Queue };

/** Queues as aggregates; a queue's id is its name. */
export const queueAggregate: AggregateDefinition<QueueState> = {
  type: "queue",
  initial: { status: "absent" },
  evolve: evolveQueueState,
};

/** The state after one more event. Pure. */
export function evolveQueueState(state: QueueState, event: Event): QueueState {
  const queue = evolveQueue(state.status === "absent" ? undefined : state.queue, event);
  return queue === undefined ? state : { status: "present", queue };
}
