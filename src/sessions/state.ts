import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { Compaction } from "../../gen/signalbox/v1/session_pb.ts";
import type { AggregateDefinition } from "../eventlog/aggregates.ts";
import { compactionOf } from "./resource.ts";

/** What decisions about a session rest on. Its runs are streams of their own. */
export interface SessionState {
  /** The newest summary; undefined when nothing was compacted. */
  readonly compaction: Compaction | undefined;
}

/** Sessions as aggregates. */
export const sessionAggregate: AggregateDefinition<SessionState> = {
  type: "session",
  initial: { compaction: undefined },
  evolve: evolveSessionState,
};

/** The state after one more event. Pure. */
export function evolveSessionState(state: SessionState, event: Event): SessionState {
  const compaction = compactionOf(event);
  return compaction === undefined ? state : { compaction };
}
