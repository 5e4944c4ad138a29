import { create } from "@bufbuild/protobuf";
import { type Principal, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import {
  RoomArchivedSchema,
  RoomCreatedSchema,
  RoomMemberAddedSchema,
  RoomMemberRemovedSchema,
  RoomUpdatedSchema,
} from "../../gen/signalbox/v1/room_event_pb.ts";
import type { Room } from "../../gen/signalbox/v1/room_pb.ts";
import type { CreateRoomRequest } from "../../gen/signalbox/v1/room_service_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { equalBytes } from "../kernel/digest.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { principalName } from "../kernel/principal.ts";
import { handleKey } from "./handle.ts";
import type { KnownRoom, RoomState } from "./room-state.ts";

/** The most members of a room. */
export const maxMembers = 1_000;

/** A creating request and what the edge knows about it. */
export interface NewRoom {
  readonly roomId: string;
  readonly request: CreateRoomRequest;
  /** SHA-256 of the request; empty without request_id. */
  readonly requestDigest: Uint8Array;
}

/** New values for some fields of a room. */
export interface RoomChange {
  /** Names the room, holds the values, and an etag unless the change may overwrite. */
  readonly room: Room;
  /** The fields to take, as the contract names them. */
  readonly paths: readonly string[];
}

/** Somebody who is to take part. */
export interface NewMember {
  readonly roomId: string;
  /** Without a chain. */
  readonly principal: Principal;
  /** Empty for the default. */
  readonly handle: string;
  readonly defaultHandle: string;
}

/** room.created; nothing when the same request created it before. REQUEST_ID_REUSED when another one did. */
export function createRoom(state: RoomState, { roomId, request, requestDigest }: NewRoom): Draft | undefined {
  if (state.status !== "absent") {
    if (equalBytes(state.requestDigest, requestDigest)) return undefined;
    throw new SignalboxError(
      "REQUEST_ID_REUSED",
      `request_id ${JSON.stringify(request.requestId)} has created ${roomId} with another body; use a new request_id`,
      { room_id: roomId },
    );
  }
  const { name, topic } = request;
  const zone = zoneOf(request);
  const value = create(RoomCreatedSchema, { name: named(name), topic, zone, requestDigest });
  return { payload: { case: "roomCreated", value }, zone };
}

/**
 * room.updated; nothing when the room has these values already, whatever its etag, so that an update may be repeated.
 * ROOM_NOT_FOUND, INVALID_STATE when it is archived, ETAG_MISMATCH, INVALID_REQUEST for a field that can not be set so.
 */
export function updateRoom(state: RoomState, { room: wanted, paths }: RoomChange): Draft | undefined {
  const { room } = requireOpenRoom(state, wanted.roomId);
  const before = { name: room.name, topic: room.topic, zone: room.zone };
  const after = { ...before, ...taken(wanted, paths) };
  if (after.name === before.name && after.topic === before.topic && after.zone === before.zone) return undefined;
  requireEtag(room, wanted.etag);
  return { payload: { case: "roomUpdated", value: create(RoomUpdatedSchema, after) }, zone: after.zone };
}

/** room.archived; nothing when it is archived already. ROOM_NOT_FOUND. */
export function archiveRoom(state: RoomState, roomId: string): Draft | undefined {
  const { status, room } = requireRoom(state, roomId);
  if (status === "archived") return undefined;
  return { payload: { case: "roomArchived", value: create(RoomArchivedSchema) }, zone: room.zone };
}

/**
 * room.member_added; nothing for a member who has that handle already, or none is given. ROOM_NOT_FOUND, INVALID_STATE when
 * the room is archived, HANDLE_TAKEN, QUOTA_EXCEEDED beyond 1,000 members.
 */
export function addMember(state: RoomState, member: NewMember): Draft | undefined {
  const { roomId, principal } = member;
  const before = requireRoom(state, roomId).members.get(principalName(principal));
  if (before !== undefined && (member.handle === "" || member.handle === before.handle)) return undefined;
  const { room, members } = requireOpenRoom(state, roomId);
  const handle = member.handle || member.defaultHandle;
  requireFree({ room, members }, handle, principal);
  if (before === undefined && members.size >= maxMembers) {
    throw new SignalboxError("QUOTA_EXCEEDED", `room ${roomId} has ${maxMembers} members, the most it can have`, {
      limit: String(maxMembers),
    });
  }
  const memberCount = before === undefined ? members.size + 1 : members.size;
  const value = create(RoomMemberAddedSchema, { principal, handle, memberCount });
  return { payload: { case: "roomMemberAdded", value }, zone: room.zone };
}

/** room.member_removed; nothing for who is no member. ROOM_NOT_FOUND. */
export function removeMember(state: RoomState, roomId: string, principal: Principal): Draft | undefined {
  const { room, members } = requireRoom(state, roomId);
  const member = members.get(principalName(principal));
  if (member === undefined) return undefined;
  const value = create(RoomMemberRemovedSchema, { principal: member.principal, memberCount: members.size - 1 });
  return { payload: { case: "roomMemberRemoved", value }, zone: room.zone };
}

/** The room, if it exists. ROOM_NOT_FOUND. */
export function requireRoom(state: RoomState, roomId: string): Exclude<RoomState, { status: "absent" }> {
  if (state.status !== "absent") return state;
  // Unknown ids and ids of another tenant look the same.
  throw new SignalboxError("ROOM_NOT_FOUND", `room ${roomId} does not exist in this workspace`);
}

/** The room, which may still be used. ROOM_NOT_FOUND, INVALID_STATE when it is archived. */
export function requireOpenRoom(state: RoomState, roomId: string): KnownRoom {
  const known = requireRoom(state, roomId);
  if (known.status === "active") return known;
  throw new SignalboxError("INVALID_STATE", `room ${roomId} is archived for good; go on in another one`, {
    status: known.status,
  });
}

function requireFree({ room, members }: Pick<KnownRoom, "room" | "members">, handle: string, own: Principal): void {
  const key = handleKey(handle);
  const holder = members.values().find((each) => handleKey(each.handle) === key)?.principal;
  if (holder === undefined || principalName(holder) === principalName(own)) return;
  throw new SignalboxError(
    "HANDLE_TAKEN",
    `@${handle} is ${principalName(holder)} in room ${room.roomId}; give another handle`,
    { handle, principal: principalName(holder) },
  );
}

/** How each field that an update may name is read from the request. */
const fields = {
  name: ({ name }) => ({ name: named(name) }),
  topic: ({ topic }) => ({ topic }),
  zone: (room) => ({ zone: zoneOf(room) }),
} as const satisfies Record<string, (room: Room) => Partial<Room>>;

const fieldNames = Object.keys(fields).join(", ");

function taken(room: Room, paths: readonly string[]): Partial<Pick<Room, "name" | "topic" | "zone">> {
  if (paths.length === 0) {
    throw new SignalboxError("INVALID_REQUEST", `update_mask is empty: name at least one of ${fieldNames}`);
  }
  return Object.assign({}, ...paths.map((path) => fieldOf(path)(room))) as Partial<Room>;
}

function fieldOf(path: string): (room: Room) => Partial<Room> {
  if (Object.hasOwn(fields, path)) return fields[path as keyof typeof fields];
  throw new SignalboxError(
    "INVALID_REQUEST",
    `update_mask names ${JSON.stringify(path)}, but only these can be set: ${fieldNames}`,
  );
}

function requireEtag({ roomId, etag }: Room, read: string): void {
  if (read === "" || read === etag) return;
  throw new SignalboxError(
    "ETAG_MISMATCH",
    `room ${roomId} has changed since etag ${JSON.stringify(read)} was read; read it again and repeat the change`,
    { etag },
  );
}

function named(name: string): string {
  if (name !== "" && !name.includes("\0")) return name;
  throw new SignalboxError("INVALID_REQUEST", "name: give the room a name of 1 to 200 characters, none of them NUL");
}

function zoneOf({ zone }: Pick<Room, "zone">): Zone {
  return zone === Zone.UNSPECIFIED ? Zone.SANDBOX : zone;
}
