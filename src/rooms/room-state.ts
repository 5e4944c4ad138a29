import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { type Room, type RoomMember, RoomStatus } from "../../gen/signalbox/v1/room_pb.ts";
import type { AggregateDefinition } from "../eventlog/aggregates.ts";
import { evolveMember, evolveRoom, memberNameOf } from "./room-resource.ts";

/** A room that exists. */
export interface KnownRoom {
  readonly room: Room;
  /** By the names of their principals, as `user:alice`. */
  readonly members: ReadonlyMap<string, RoomMember>;
  /** SHA-256 of the creating request; empty when it had no request_id. */
  readonly requestDigest: Uint8Array;
}

/** What decisions about a room rest on. */
export type RoomState = { readonly status: "absent" } | (KnownRoom & { readonly status: "active" | "archived" });

/** Rooms as aggregates. */
export const roomAggregate: AggregateDefinition<RoomState> = {
  type: "room",
  initial: { status: "absent" },
  evolve: evolveRoomState,
};

/** The state after one more event. Pure. */
export function evolveRoomState(state: RoomState, event: Event): RoomState {
  const before = state.status === "absent" ? undefined : state;
  const room = evolveRoom(before?.room, event);
  if (room === undefined) return state;
  const { payload } = event;
  return {
    status: room.status === RoomStatus.ARCHIVED ? "archived" : "active",
    room,
    members: membersAfter(before?.members ?? new Map(), event),
    requestDigest:
      payload.case === "roomCreated" ? payload.value.requestDigest : (before?.requestDigest ?? new Uint8Array()),
  };
}

function membersAfter(members: KnownRoom["members"], event: Event): KnownRoom["members"] {
  const name = memberNameOf(event);
  if (name === undefined) return members;
  const after = new Map(members);
  const member = evolveMember(members.get(name), event);
  if (member === undefined || member.handle === "") after.delete(name);
  else after.set(name, member);
  return after;
}
