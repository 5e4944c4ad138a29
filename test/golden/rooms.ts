import { create } from "@bufbuild/protobuf";
import { PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import {
  CursorMovedSchema,
  MessageEditedSchema,
  MessagePostedSchema,
  MessageRedactedSchema,
  RoomArchivedSchema,
  RoomCreatedSchema,
  RoomMemberAddedSchema,
  RoomMemberRemovedSchema,
  RoomUpdatedSchema,
  ThreadCreatedSchema,
} from "../../gen/signalbox/v1/room_event_pb.ts";
import { digest, otherRunId, runId } from "./values.ts";

const bob = { type: PrincipalType.USER, id: "bob" };

/** Rooms and what is said in them. */
export const roomPayloads = {
  roomCreated: create(RoomCreatedSchema, {
    name: "Yard",
    topic: "What moves on track 4",
    zone: Zone.HIGH_STAKES,
    requestDigest: digest,
  }),
  roomUpdated: create(RoomUpdatedSchema, { name: "Yard", topic: "What moves", zone: Zone.SUPERVISED }),
  roomArchived: create(RoomArchivedSchema),
  roomMemberAdded: create(RoomMemberAddedSchema, { principal: bob, handle: "bob", memberCount: 3 }),
  roomMemberRemoved: create(RoomMemberRemovedSchema, { principal: bob, memberCount: 2 }),
  threadCreated: create(ThreadCreatedSchema, { title: "Night inspection", requestDigest: digest }),
  messagePosted: create(MessagePostedSchema, {
    text: "@dispatcher is track 4 free — später auch?",
    mentions: [
      {
        handle: "dispatcher",
        principal: { type: PrincipalType.AGENT, id: "agt_01K9ZZZZZZZZZZZZZZZZZZZZZZ" },
        runId: otherRunId,
      },
    ],
    replyToMessageId: "msg_01K9YYYYYYYYYYYYYYYYYYYYYY",
    runId,
    mentionDepth: 2,
    requestDigest: digest,
    threadId: "th_1",
    mentionsRefused: true,
  }),
  messageEdited: create(MessageEditedSchema, { text: "@dispatcher is track 5 free?" }),
  messageRedacted: create(MessageRedactedSchema, { reason: "a name that does not belong here" }),
  cursorMoved: create(CursorMovedSchema, { roomId: "room_1", principal: "user:bob", readPosition: 4_711n }),
};
