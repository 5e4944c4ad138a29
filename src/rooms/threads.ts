import type { Thread } from "../../gen/signalbox/v1/room_pb.ts";
import {
  type CreateThreadRequest,
  CreateThreadRequestSchema,
  type ListThreadsRequest,
} from "../../gen/signalbox/v1/room_service_pb.ts";
import { type AggregatesDeps, createAggregates } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import { requestDigest } from "../kernel/digest.ts";
import { derivedId } from "../kernel/ids.ts";
import { readPage } from "../readmodel/page.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Db } from "../readmodel/postgres.ts";
import { listThreads } from "./queries.ts";
import { requireOpenRoom, requireRoom } from "./room-decider.ts";
import type { Rooms } from "./rooms.ts";
import { createThread, requireThread } from "./thread-decider.ts";
import { threadAggregate, type ThreadState } from "./thread-state.ts";

/** The threads of all rooms; every call sees its own workspace only. Functions throw what room_service.proto names. */
export interface Threads {
  create(call: Call, request: CreateThreadRequest): Promise<{ thread: Thread; position: bigint }>;
  list(call: Call, request: ListThreadsRequest): Promise<{ threads: Thread[]; nextPageToken: string }>;
  /** The thread of the room, confirmed by the log's leader, without the numbers of its messages. THREAD_NOT_FOUND. */
  load(workspaceId: string, roomId: string, threadId: string): Promise<Thread>;
}

/** What threads need. */
export interface ThreadsDeps extends AggregatesDeps {
  readonly db: Db;
  readonly positions: Pick<Positions, "reach">;
  readonly rooms: Pick<Rooms, "load">;
}

/** The threads on a log and its read models. */
export function createThreads({ db, positions, rooms, ...deps }: ThreadsDeps): Threads {
  const aggregates = createAggregates(threadAggregate, deps);
  return {
    async create(call, request) {
      const { requestId, roomId } = request;
      const room = await rooms.load(call.workspaceId, roomId);
      const { zone } = requireRoom(room, roomId).room;
      const repeatable = requestId !== "";
      const id = repeatable ? derivedId("th", call.workspaceId, "CreateThread", requestId) : deps.ids.next("th");
      const digest = repeatable ? requestDigest(CreateThreadRequestSchema, request) : new Uint8Array();
      const { state, position } = await aggregates.execute({
        call,
        id,
        creation: { roomId, threadId: id, repeatable },
        decide(before: ThreadState) {
          const draft = createThread(before, { threadId: id, request, zone, requestDigest: digest });
          if (draft !== undefined) requireOpenRoom(room, roomId);
          return draft;
        },
      });
      return { thread: requireThread(state, roomId, id), position };
    },
    async list({ workspaceId, signal }, { roomId, pageSize, pageToken, minPosition }) {
      const page = readPage("threads", [workspaceId, roomId], pageSize, pageToken);
      requireRoom(await rooms.load(workspaceId, roomId), roomId);
      await positions.reach(minPosition, signal);
      const { items, nextPageToken } = await listThreads(db, workspaceId, roomId, page);
      return { threads: items, nextPageToken };
    },
    async load(workspaceId, roomId, threadId) {
      const { state } = await aggregates.load(workspaceId, threadId);
      return requireThread(state, roomId, threadId);
    },
  };
}
