import { create } from "@bufbuild/protobuf";
import {
  type GetRoomChangesRequest,
  type GetRoomChangesResponse,
  GetRoomChangesResponseSchema,
} from "../../gen/signalbox/v1/room_service_pb.ts";
import type { Call } from "../kernel/call.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Postgres } from "../readmodel/postgres.ts";
import { readSnapshot } from "../readmodel/snapshot.ts";
import { changedApprovals, changedIncidents, changedMessages, changedRuns } from "./change-queries.ts";
import { readerOf } from "./cursors.ts";
import { newest } from "./queries.ts";
import { requireRoom } from "./room-decider.ts";
import type { Rooms } from "./rooms.ts";
import { readPosition } from "./unread-queries.ts";

/** What reading changes needs. */
export interface ChangesDeps {
  readonly postgres: Postgres;
  readonly positions: Pick<Positions, "reach">;
  readonly rooms: Pick<Rooms, "load">;
}

/** What has changed in a room since somebody last looked: one consistent read. ROOM_NOT_FOUND, READ_MODEL_BEHIND. */
export type GetChanges = (call: Call, request: GetRoomChangesRequest) => Promise<GetRoomChangesResponse>;

/** Reads changes from the tables. */
export function createChanges({ postgres, positions, rooms }: ChangesDeps): GetChanges {
  return async (call, { roomId, afterPosition, minPosition }) => {
    const { workspaceId } = call;
    requireRoom(await rooms.load(workspaceId, roomId), roomId);
    await positions.reach(minPosition, call.signal);
    return readSnapshot(postgres, async ({ db, position }) => {
      const since = afterPosition ?? (await readPosition(db, workspaceId, readerOf(call), roomId));
      const query = { workspaceId, roomId, after: since < newest ? since : newest };
      const messages = await changedMessages(db, query);
      const runs = await changedRuns(db, query);
      const approvals = await changedApprovals(db, query);
      const incidents = await changedIncidents(db, query);
      return create(GetRoomChangesResponseSchema, {
        afterPosition: since,
        position,
        messages: messages.items.toSorted((a, b) => (a.createPosition < b.createPosition ? -1 : 1)),
        runs: runs.items,
        approvals: approvals.items,
        incidents: incidents.items,
        messageCount: messages.count,
        runCount: runs.count,
        approvalCount: approvals.count,
        incidentCount: incidents.count,
      });
    });
  };
}
