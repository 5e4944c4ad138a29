import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type Principal, PrincipalSchema, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { type Event, EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { type RoomMember, RoomMemberSchema } from "../../gen/signalbox/v1/room_pb.ts";
import type { Draft } from "../../src/eventlog/aggregates.ts";

/** The ids of these tests. */
export const roomId = "room_01ARZ3NDEKTSV4RRFFQ69G5FAV";
export const threadId = "th_01ARZ3NDEKTSV4RRFFQ69G5FAV";
export const messageId = "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV";
export const agentId = "agt_01ARZ3NDEKTSV4RRFFQ69G5FAV";

/** A person. */
export function user(id: string): Principal {
  return create(PrincipalSchema, { type: PrincipalType.USER, id });
}

/** An agent, for whom it acts left out. */
export function agent(id = agentId): Principal {
  return create(PrincipalSchema, { type: PrincipalType.AGENT, id });
}

/** A member of a room. */
export function member(handle: string, principal: Principal = user(handle)): RoomMember {
  return create(RoomMemberSchema, { handle, principal });
}

/** The event of a decision: `sequence` in its stream, at ten times that position. */
export function eventOf(
  draft: Draft | undefined,
  stream: { readonly type: string; readonly id: string },
  { sequence = 1n, actor = user("alice") }: { sequence?: bigint; actor?: Principal } = {},
): Event {
  if (draft === undefined) throw new Error("nothing was decided");
  return create(EventSchema, {
    position: sequence * 10n,
    workspaceId: "ws_one",
    roomId,
    stream,
    streamSequence: sequence,
    actor,
    zone: draft.zone,
    createTime: timestampFromDate(new Date(Date.UTC(2026, 4, 4, 0, 0, Number(sequence)))),
    payload: draft.payload,
  });
}
