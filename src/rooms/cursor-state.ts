import type { ReadCursor } from "../../gen/signalbox/v1/room_pb.ts";
import type { AggregateDefinition } from "../eventlog/aggregates.ts";
import { evolveCursor } from "./cursor-resource.ts";

/** What decisions about a cursor rest on. */
export interface CursorState {
  /** Undefined until it is moved. */
  readonly cursor: ReadCursor | undefined;
}

/** Cursors as aggregates. They belong to no room's feed: how far somebody has read is nobody else's news. */
export const cursorAggregate: AggregateDefinition<CursorState> = {
  type: "cursor",
  initial: { cursor: undefined },
  evolve: ({ cursor }, event) => ({ cursor: evolveCursor(cursor, event) }),
};
