import type { ReadCursor, UnreadRoom } from "../../gen/signalbox/v1/room_pb.ts";
import type { ListUnreadRequest, MarkReadRequest } from "../../gen/signalbox/v1/room_service_pb.ts";
import { type AggregatesDeps, createAggregates } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { derivedId } from "../kernel/ids.ts";
import { personBehind, principalName } from "../kernel/principal.ts";
import { readPage } from "../readmodel/page.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Db } from "../readmodel/postgres.ts";
import { moveCursor } from "./cursor-decider.ts";
import { cursorAggregate, type CursorState } from "./cursor-state.ts";
import { requireRoom } from "./room-decider.ts";
import type { Rooms } from "./rooms.ts";
import { listUnread } from "./unread-queries.ts";

/** How far people have read. Functions throw what room_service.proto names. */
export interface Cursors {
  markRead(call: Call, request: MarkReadRequest): Promise<{ cursor: ReadCursor; position: bigint }>;
  listUnread(call: Call, request: ListUnreadRequest): Promise<{ rooms: UnreadRoom[]; nextPageToken: string }>;
}

/** What cursors need. */
export interface CursorsDeps extends AggregatesDeps {
  readonly db: Db;
  readonly positions: Pick<Positions, "reach">;
  readonly rooms: Pick<Rooms, "load">;
}

/** The cursors on a log and its read models. */
export function createCursors({ db, positions, rooms, ...deps }: CursorsDeps): Cursors {
  const aggregates = createAggregates(cursorAggregate, deps);

  /**
   * Where the cursor is to stand: no further than the newest event of the room. What comes behind is not in it, so whoever
   * says again and again that they have read everything has nothing to record while nothing is said. POSITION_IN_FUTURE.
   */
  async function placeOf({ workspaceId }: Call, { roomId, readPosition }: MarkReadRequest): Promise<bigint> {
    const { head } = await deps.log.bounds();
    if (readPosition > head) {
      throw new SignalboxError(
        "POSITION_IN_FUTURE",
        `position ${readPosition} is beyond the end of the log (${head}); give a position that you have received`,
        { head_position: String(head) },
      );
    }
    const newest = (await deps.log.last(deps.log.subjects.view({ workspaceId, roomId })))?.position ?? 0n;
    return readPosition === 0n || readPosition > newest ? newest : readPosition;
  }

  return {
    async markRead(call, request) {
      const { workspaceId } = call;
      const { roomId } = request;
      requireRoom(await rooms.load(workspaceId, roomId), roomId);
      const principal = readerOf(call);
      const reading = { roomId, principal, readPosition: await placeOf(call, request) };
      const id = derivedId("cur", workspaceId, roomId, principal);
      const decide = (state: CursorState) => moveCursor(state, reading);
      const { state, position } = await aggregates.execute({
        call,
        id,
        creation: { roomId: "", repeatable: true },
        decide,
      });
      if (state.cursor === undefined) throw new Error(`cursor ${id} was moved, but is not there`);
      return { cursor: state.cursor, position };
    },
    async listUnread(call, { onlyUnread, pageSize, pageToken, minPosition }) {
      const { workspaceId, signal } = call;
      const principal = readerOf(call);
      const page = readPage("unread", [workspaceId, principal, onlyUnread], pageSize, pageToken);
      await positions.reach(minPosition, signal);
      return listUnread(db, { workspaceId, principal, onlyUnread, page });
    },
  };
}

/** Whose cursor a call is about, as `user:alice`. */
export function readerOf({ principal }: Pick<Call, "principal">): string {
  return principalName(personBehind(principal));
}
