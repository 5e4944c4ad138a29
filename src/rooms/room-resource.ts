import { create } from "@bufbuild/protobuf";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import {
  type Room,
  type RoomMember,
  RoomMemberSchema,
  RoomSchema,
  RoomStatus,
} from "../../gen/signalbox/v1/room_pb.ts";
import { personBehind, principalName } from "../kernel/principal.ts";
import { defaultHandle } from "./handle.ts";

/** The room after an event of its stream; undefined until it is created. Pure. */
export function evolveRoom(room: Room | undefined, event: Event): Room | undefined {
  const { payload, workspaceId, createTime, actor, position } = event;
  if (payload.case === "roomCreated") {
    const { name, topic, zone } = payload.value;
    const roomId = event.stream?.id ?? "";
    const own = { roomId, workspaceId, name, topic, zone, status: RoomStatus.ACTIVE, memberCount: 1 };
    return configured(create(RoomSchema, { ...own, createTime, createBy: actor }), event);
  }
  if (room === undefined) return undefined;
  const changed = { ...room, updateTime: createTime, position };
  if (payload.case === "roomUpdated") {
    const { name, topic, zone } = payload.value;
    return configured({ ...changed, name, topic, zone }, event);
  }
  if (payload.case === "roomArchived") return { ...changed, status: RoomStatus.ARCHIVED };
  if (payload.case === "roomMemberAdded" || payload.case === "roomMemberRemoved") {
    return { ...changed, memberCount: payload.value.memberCount };
  }
  return room;
}

/** Whom an event of a room's stream lets in, lets go, or names anew, as `user:alice`; undefined for nobody. Pure. */
export function memberNameOf({ payload, actor }: Event): string | undefined {
  if (payload.case === "roomCreated") return actor && principalName(personBehind(actor));
  if (payload.case !== "roomMemberAdded" && payload.case !== "roomMemberRemoved") return undefined;
  return payload.value.principal && principalName(payload.value.principal);
}

/**
 * A member after an event about them. Whoever has left is without a handle, because rows are never taken out of a table.
 * Pure.
 */
export function evolveMember(member: RoomMember | undefined, event: Event): RoomMember | undefined {
  const { payload, createTime, actor } = event;
  if (payload.case === "roomMemberRemoved") return member && create(RoomMemberSchema, { principal: member.principal });
  if (payload.case === "roomMemberAdded") {
    const { principal, handle } = payload.value;
    if (member !== undefined && member.handle !== "") return { ...member, handle };
    return create(RoomMemberSchema, { principal, handle, addTime: createTime, addBy: actor });
  }
  if (payload.case !== "roomCreated" || actor === undefined) return member;
  const principal = personBehind(actor);
  const handle = defaultHandle(principal.id);
  return create(RoomMemberSchema, { principal, handle, addTime: createTime, addBy: actor });
}

/** The room with what every change of its settings moves on. */
function configured(room: Room, event: Event): Room {
  return { ...room, updateTime: event.createTime, etag: String(event.streamSequence), position: event.position };
}
