import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { RoomSchema } from "../../gen/signalbox/v1/room_pb.ts";
import { CreateRoomRequestSchema, CreateThreadRequestSchema } from "../../gen/signalbox/v1/room_service_pb.ts";
import type { Draft } from "../../src/eventlog/aggregates.ts";
import { moveCursor } from "../../src/rooms/cursor-decider.ts";
import { cursorAggregate } from "../../src/rooms/cursor-state.ts";
import {
  editMessage,
  type NewMessage,
  postAnswer,
  postMessage,
  redactMessage,
} from "../../src/rooms/message-decider.ts";
import { evolveMessageState, type MessageState } from "../../src/rooms/message-state.ts";
import {
  addMember,
  archiveRoom,
  createRoom,
  maxMembers,
  removeMember,
  updateRoom,
} from "../../src/rooms/room-decider.ts";
import { evolveRoomState, type RoomState } from "../../src/rooms/room-state.ts";
import { createThread, requireThread } from "../../src/rooms/thread-decider.ts";
import { evolveThreadState } from "../../src/rooms/thread-state.ts";
import { agent, eventOf, messageId, roomId, threadId, user } from "./rooms.ts";

const digest = new Uint8Array([1, 2, 3]);
const refused = (reason: string) => expect.objectContaining({ reason }) as Error;

describe("a room", () => {
  const absent: RoomState = { status: "absent" };
  const request = create(CreateRoomRequestSchema, { requestId: "once", name: "Yard" });
  const creating = { roomId, request, requestDigest: digest };
  const after = (state: RoomState, draft: Draft | undefined, actor = user("alice")) =>
    evolveRoomState(state, eventOf(draft, { type: "room", id: roomId }, { sequence: sequenceOf(state) + 1n, actor }));
  const sequenceOf = (state: RoomState) => (state.status === "absent" ? 0n : state.room.position / 10n);
  const created = after(absent, createRoom(absent, creating));
  const archived = after(created, archiveRoom(created, roomId));
  const adding = (id: string, handle = "") => ({ roomId, principal: user(id), handle, defaultHandle: id });
  const names = (state: RoomState) => (state.status === "absent" ? [] : [...state.members.keys()]);

  test("begins with its creator as the only member, in the sandbox", () => {
    expect(created).toMatchObject({
      status: "active",
      room: { roomId, name: "Yard", zone: Zone.SANDBOX, memberCount: 1, etag: "1", createBy: { id: "alice" } },
    });
    expect(names(created)).toEqual(["user:alice"]);
  });

  test("has the person behind a program as its first member", () => {
    const gateway = { ...user("x"), type: PrincipalType.SERVICE, id: "gateway", onBehalfOf: [user("bob")] };
    expect(names(after(absent, createRoom(absent, creating), gateway))).toEqual(["user:bob"]);
  });

  test("is created once for one request, and not for another one", () => {
    expect(createRoom(created, creating)).toBeUndefined();
    const other = { ...creating, requestDigest: new Uint8Array([4]) };
    expect(() => createRoom(created, other)).toThrow(refused("REQUEST_ID_REUSED"));
  });

  test("is changed by the fields of the mask, once, on top of what was read", () => {
    const change = (fields: object, paths: string[]) => ({ room: create(RoomSchema, { roomId, ...fields }), paths });
    const wanted = change({ topic: "Track 4", name: "ignored", zone: Zone.HIGH_STAKES, etag: "1" }, ["topic", "zone"]);
    const changed = after(created, updateRoom(created, wanted));
    expect(changed).toMatchObject({ room: { name: "Yard", topic: "Track 4", zone: Zone.HIGH_STAKES, etag: "2" } });
    expect(updateRoom(changed, wanted)).toBeUndefined();
    const late = change({ name: "Other", etag: "1" }, ["name"]);
    expect(() => updateRoom(changed, late)).toThrow(refused("ETAG_MISMATCH"));
    for (const bad of [
      change({}, []),
      change({}, ["status"]),
      change({}, ["name"]),
      change({ name: "a\0" }, ["name"]),
    ]) {
      expect(() => updateRoom(created, bad)).toThrow(refused("INVALID_REQUEST"));
    }
    expect(() => updateRoom(archived, wanted)).toThrow(refused("INVALID_STATE"));
    expect(() => updateRoom(absent, wanted)).toThrow(refused("ROOM_NOT_FOUND"));
  });

  test("is archived for good, twice without harm, and takes no members then", () => {
    expect(archived.status).toBe("archived");
    expect(archiveRoom(archived, roomId)).toBeUndefined();
    expect(() => addMember(archived, adding("bob"))).toThrow(refused("INVALID_STATE"));
    expect(addMember(archived, adding("alice"))).toBeUndefined();
    expect(after(archived, removeMember(archived, roomId, user("alice")))).toMatchObject({ room: { memberCount: 0 } });
    expect(() => archiveRoom(absent, roomId)).toThrow(refused("ROOM_NOT_FOUND"));
  });

  test("calls each member by another handle, whatever the case", () => {
    const both = after(created, addMember(created, adding("bob")));
    expect(addMember(both, adding("bob"))).toBeUndefined();
    expect(addMember(both, adding("bob", "bob"))).toBeUndefined();
    expect(() => addMember(both, adding("bob", "ALICE"))).toThrow(refused("HANDLE_TAKEN"));
    expect(() => addMember(both, { ...adding("carol"), defaultHandle: "Bob" })).toThrow(refused("HANDLE_TAKEN"));
    const renamed = after(both, addMember(both, adding("bob", "Bob")));
    expect(renamed).toMatchObject({ room: { memberCount: 2 } });
    expect(renamed.status !== "absent" && renamed.members.get("user:bob")?.handle).toBe("Bob");
    const left = after(renamed, removeMember(renamed, roomId, user("bob")));
    expect(left).toMatchObject({ room: { memberCount: 1 } });
    expect(removeMember(left, roomId, user("bob"))).toBeUndefined();
    expect(names(after(left, addMember(left, adding("carol", "bob"))))).toEqual(["user:alice", "user:carol"]);
  });

  test("has 1,000 members at most", () => {
    let full = created;
    for (let n = 1; n < maxMembers; n++) full = after(full, addMember(full, adding(`user_${n}`)));
    expect(full).toMatchObject({ room: { memberCount: maxMembers } });
    expect(() => addMember(full, adding("one_more"))).toThrow(refused("QUOTA_EXCEEDED"));
    expect(addMember(full, adding("alice", "al"))).toBeDefined();
  });
});

test("a thread is created once, and is found in its own room only", () => {
  const request = create(CreateThreadRequestSchema, { requestId: "once", roomId, title: "Night" });
  const creating = { threadId, request, zone: Zone.SUPERVISED, requestDigest: digest };
  const draft = createThread({ status: "absent" }, creating);
  const state = evolveThreadState({ status: "absent" }, eventOf(draft, { type: "thread", id: threadId }));
  expect(draft?.zone).toBe(Zone.SUPERVISED);
  expect(createThread(state, creating)).toBeUndefined();
  expect(() => createThread(state, { ...creating, requestDigest: new Uint8Array() })).toThrow(
    refused("REQUEST_ID_REUSED"),
  );
  expect(requireThread(state, roomId, threadId)).toMatchObject({ title: "Night", messageCount: 0n });
  expect(() => requireThread(state, "room_other", threadId)).toThrow(refused("THREAD_NOT_FOUND"));
  expect(() => requireThread({ status: "absent" }, roomId, threadId)).toThrow(refused("THREAD_NOT_FOUND"));
});

describe("a message", () => {
  const absent: MessageState = { status: "absent" };
  const said: NewMessage = {
    text: "**Track 4** is `free`\r\n",
    mentions: [],
    mentionsRefused: false,
    threadId: "",
    replyToMessageId: "",
    mentionDepth: 0,
    zone: Zone.SUPERVISED,
  };
  const posting = { messageId, requestId: "once", requestDigest: digest };
  const after = (state: MessageState, draft: Draft | undefined, actor = user("alice")) => {
    const sequence = state.status === "absent" ? 1n : state.message.position / 10n + 1n;
    return evolveMessageState(state, eventOf(draft, { type: "message", id: messageId }, { sequence, actor }));
  };
  const posted = after(absent, postMessage(absent, posting, said));
  const editing = (text: string, editor = user("alice")) => ({ messageId, text, editor });

  test("says what was said, to the byte, once for one request", () => {
    expect(posted).toMatchObject({
      status: "shown",
      message: { text: said.text, createPosition: 10n, createBy: { id: "alice" } },
    });
    expect(postMessage(posted, posting, said)).toBeUndefined();
    const other = { ...posting, requestDigest: new Uint8Array([9]) };
    expect(() => postMessage(posted, other, said)).toThrow(refused("REQUEST_ID_REUSED"));
  });

  test("of a run is posted once, whatever it says the second time", () => {
    const answered = after(absent, postAnswer(absent, "run_1", said), agent());
    expect(answered).toMatchObject({ message: { runId: "run_1" } });
    expect(postAnswer(answered, "run_1", { ...said, text: "other" })).toBeUndefined();
  });

  test("is edited by its author alone, also through a program, and stays where it is", () => {
    const edited = after(posted, editMessage(posted, editing("free")));
    expect(edited).toMatchObject({ message: { text: "free", status: 2, createPosition: 10n, position: 20n } });
    expect(editMessage(edited, editing("free"))).toBeUndefined();
    expect(() => editMessage(posted, editing("x", user("bob")))).toThrow(refused("PERMISSION_DENIED"));
    const byAgent = { ...agent(), onBehalfOf: [user("alice")] };
    expect(() => editMessage(posted, editing("x", byAgent))).toThrow(refused("PERMISSION_DENIED"));
    const gateway = { ...user("gw"), type: PrincipalType.SERVICE, onBehalfOf: [user("alice")] };
    expect(editMessage(posted, editing("x", gateway))).toBeDefined();
    expect(() => editMessage(absent, editing("x"))).toThrow(refused("MESSAGE_NOT_FOUND"));
  });

  test("says nothing once it is redacted, and is not edited any more", () => {
    const redacted = after(posted, redactMessage(posted, messageId, "a name"), user("bob"));
    expect(redacted).toMatchObject({
      status: "redacted",
      message: { text: "", redactReason: "a name", updateBy: { id: "bob" } },
    });
    expect(redactMessage(redacted, messageId, "again")).toBeUndefined();
    expect(() => editMessage(redacted, editing("x"))).toThrow(refused("INVALID_STATE"));
    expect(() => redactMessage(absent, messageId, "")).toThrow(refused("MESSAGE_NOT_FOUND"));
  });
});

test("a cursor moves forwards only", () => {
  const reading = (readPosition: bigint) => ({ roomId, principal: "user:alice", readPosition });
  const state = cursorAggregate.evolve(
    cursorAggregate.initial,
    eventOf(moveCursor(cursorAggregate.initial, reading(7n)), { type: "cursor", id: "cur_1" }),
  );
  expect(state.cursor).toMatchObject({ ...reading(7n), position: 10n });
  expect(moveCursor(state, reading(7n))).toBeUndefined();
  expect(moveCursor(state, reading(3n))).toBeUndefined();
  expect(moveCursor(state, reading(8n))).toBeDefined();
});
