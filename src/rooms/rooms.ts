import type { Agent } from "../../gen/signalbox/v1/agent_pb.ts";
import { type Principal, PrincipalSchema, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import type { Room, RoomMember } from "../../gen/signalbox/v1/room_pb.ts";
import {
  type AddRoomMemberRequest,
  type CreateRoomRequest,
  CreateRoomRequestSchema,
  type ListRoomMembersRequest,
  type ListRoomsRequest,
  type RemoveRoomMemberRequest,
  type UpdateRoomRequest,
} from "../../gen/signalbox/v1/room_service_pb.ts";
import { create as message } from "@bufbuild/protobuf";
import { type AggregatesDeps, createAggregates, type Loaded } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import { requestDigest } from "../kernel/digest.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { derivedId } from "../kernel/ids.ts";
import { principalName } from "../kernel/principal.ts";
import { readNamePage, readPage } from "../readmodel/page.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Db } from "../readmodel/postgres.ts";
import { defaultHandle, handleKey } from "./handle.ts";
import { listRooms } from "./queries.ts";
import { addMember, archiveRoom, createRoom, removeMember, requireRoom, updateRoom } from "./room-decider.ts";
import { roomAggregate, type RoomState } from "./room-state.ts";

/** A room after a command, and where the log stood then. */
export interface RoomAnswer {
  readonly room: Room;
  readonly position: bigint;
}

/** The rooms of all workspaces; every call sees its own workspace only. Functions throw what room_service.proto names. */
export interface Rooms {
  create(call: Call, request: CreateRoomRequest): Promise<RoomAnswer>;
  /** The room as it is now. ROOM_NOT_FOUND. */
  get(call: Call, roomId: string): Promise<Room>;
  list(call: Call, request: ListRoomsRequest): Promise<{ rooms: Room[]; nextPageToken: string }>;
  update(call: Call, request: UpdateRoomRequest): Promise<RoomAnswer>;
  archive(call: Call, roomId: string): Promise<RoomAnswer>;
  addMember(call: Call, request: AddRoomMemberRequest): Promise<{ member: RoomMember; position: bigint }>;
  removeMember(call: Call, request: RemoveRoomMemberRequest): Promise<RoomAnswer>;
  listMembers(call: Call, request: ListRoomMembersRequest): Promise<{ members: RoomMember[]; nextPageToken: string }>;
  /** What decisions about what is in the room rest on, confirmed by the log's leader. */
  load(workspaceId: string, roomId: string): Promise<RoomState>;
}

/** What rooms need. */
export interface RoomsDeps extends AggregatesDeps {
  readonly db: Db;
  readonly positions: Pick<Positions, "reach">;
  /** The agent as it is now; undefined when there is none in the workspace. */
  readonly findAgent: (workspaceId: string, agentId: string) => Promise<Agent | undefined>;
}

/** The rooms on a log and its read models. */
export function createRooms({ db, positions, findAgent, ...deps }: RoomsDeps): Rooms {
  const aggregates = createAggregates(roomAggregate, deps);

  async function load(workspaceId: string, roomId: string): Promise<RoomState> {
    return (await aggregates.load(workspaceId, roomId)).state;
  }

  async function create(call: Call, request: CreateRoomRequest): Promise<RoomAnswer> {
    const { requestId } = request;
    const repeatable = requestId !== "";
    const id = repeatable ? derivedId("room", call.workspaceId, "CreateRoom", requestId) : deps.ids.next("room");
    const digest = repeatable ? requestDigest(CreateRoomRequestSchema, request) : new Uint8Array();
    const decide = (state: RoomState) => createRoom(state, { roomId: id, request, requestDigest: digest });
    // A room is in its own feed.
    return answer(await aggregates.execute({ call, id, creation: { roomId: id, repeatable }, decide }), id);
  }

  /** What a member is called who says nothing. AGENT_NOT_FOUND. */
  async function handleOf({ workspaceId }: Call, { type, id }: Principal): Promise<string> {
    if (type !== PrincipalType.AGENT) return defaultHandle(id);
    const agent = /^agt_[0-9A-Za-z]{1,40}$/.test(id) ? await findAgent(workspaceId, id) : undefined;
    if (agent !== undefined) return defaultHandle(agent.name, id);
    throw new SignalboxError("AGENT_NOT_FOUND", `agent ${id} does not exist in this workspace`);
  }

  async function add(call: Call, { roomId, principal: who, handle }: AddRoomMemberRequest) {
    const principal = principalOf(who);
    const member = { roomId, principal, handle, defaultHandle: await handleOf(call, principal) };
    const decide = (state: RoomState) => addMember(state, member);
    const { state, position } = await aggregates.execute({ call, id: roomId, decide });
    const added = requireRoom(state, roomId).members.get(principalName(principal));
    if (added === undefined) throw new Error(`${principalName(principal)} was added to ${roomId}, but is not in it`);
    return { member: added, position };
  }

  return {
    create,
    load,
    addMember: add,
    get: async ({ workspaceId }, roomId) => requireRoom(await load(workspaceId, roomId), roomId).room,
    async list({ workspaceId, signal }, { includeArchived, pageSize, pageToken, minPosition }) {
      const page = readPage("rooms", [workspaceId, includeArchived], pageSize, pageToken);
      await positions.reach(minPosition, signal);
      const { items, nextPageToken } = await listRooms(db, workspaceId, includeArchived, page);
      return { rooms: items, nextPageToken };
    },
    async update(call, { room, updateMask }) {
      if (room === undefined || room.roomId === "") {
        throw new SignalboxError("INVALID_REQUEST", "room.room_id is missing: name the one to change");
      }
      const change = { room, paths: updateMask?.paths ?? [] };
      const decide = (state: RoomState) => updateRoom(state, change);
      return answer(await aggregates.execute({ call, id: room.roomId, decide }), room.roomId);
    },
    async archive(call, roomId) {
      const decide = (state: RoomState) => archiveRoom(state, roomId);
      return answer(await aggregates.execute({ call, id: roomId, decide }), roomId);
    },
    async removeMember(call, { roomId, principal: who }) {
      const principal = principalOf(who);
      const decide = (state: RoomState) => removeMember(state, roomId, principal);
      return answer(await aggregates.execute({ call, id: roomId, decide }), roomId);
    },
    async listMembers({ workspaceId }, { roomId, pageSize, pageToken }) {
      const { size, after = "", tokenAfter } = readNamePage("room_members", [workspaceId, roomId], pageSize, pageToken);
      const { members } = requireRoom(await load(workspaceId, roomId), roomId);
      const sorted = [...members.values()].toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
      const rest = sorted.filter((member) => keyOf(member) > after);
      const last = rest.length > size ? rest[size - 1] : undefined;
      return { members: rest.slice(0, size), nextPageToken: last === undefined ? "" : tokenAfter(keyOf(last)) };
    },
  };
}

function answer({ state, position }: Loaded<RoomState>, roomId: string): RoomAnswer {
  return { room: requireRoom(state, roomId).room, position };
}

function keyOf({ handle }: RoomMember): string {
  return handleKey(handle);
}

/** The principal without a chain. INVALID_REQUEST for an id that nobody can have. */
function principalOf(given: Principal | undefined): Principal {
  const { type, id } = given ?? message(PrincipalSchema);
  if (/^[!-~]{1,200}$/.test(id)) return message(PrincipalSchema, { type, id });
  throw new SignalboxError("INVALID_REQUEST", "principal.id: give 1 to 200 visible ASCII characters, without blanks");
}
