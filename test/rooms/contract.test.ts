import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import { PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { MessageStatus, RoomStatus } from "../../gen/signalbox/v1/room_pb.ts";
import { headPosition } from "../e2e/subscribed.ts";
import { reasonFor, refusal } from "../e2e/refusal.ts";
import { openInstallation } from "../support/installation.ts";
import { addAgent, addPeople, createRoom, messagesOf, newWorkspace, say } from "./people.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

const user = (id: string) => ({ type: PrincipalType.USER, id });
const nobody = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

describe("a room", () => {
  test("is created once for one request, read, listed, changed and archived", async () => {
    const alice = newWorkspace(installation).as("alice");
    const first = await alice.rooms.createRoom({ requestId: "r", name: "Yard", topic: "Track 4" });
    expect(await alice.rooms.createRoom({ requestId: "r", name: "Yard", topic: "Track 4" })).toEqual(first);
    expect(await reasonFor(alice.rooms.createRoom({ requestId: "r", name: "Other" }))).toBe("REQUEST_ID_REUSED");
    const room = first.room!;
    const { roomId } = room;
    expect(room).toMatchObject({
      status: RoomStatus.ACTIVE,
      zone: Zone.SANDBOX,
      memberCount: 1,
      createBy: user("alice"),
    });
    expect((await alice.rooms.getRoom({ roomId })).room).toEqual(room);
    const changed = await alice.rooms.updateRoom({
      room: { roomId, zone: Zone.HIGH_STAKES, etag: room.etag },
      updateMask: { paths: ["zone"] },
    });
    expect(changed.room).toMatchObject({ name: "Yard", zone: Zone.HIGH_STAKES });
    const other = await createRoom(alice);
    const archived = await alice.rooms.archiveRoom({ roomId });
    expect(await alice.rooms.archiveRoom({ roomId })).toEqual(archived);
    const minPosition = archived.position;
    const listed = (includeArchived: boolean) => alice.rooms.listRooms({ includeArchived, minPosition });
    expect((await listed(true)).rooms).toEqual([other, archived.room]);
    expect((await listed(false)).rooms).toEqual([other]);
    const { rooms, nextPageToken } = await alice.rooms.listRooms({ includeArchived: true, minPosition, pageSize: 1 });
    const rest = await alice.rooms.listRooms({
      includeArchived: true,
      minPosition,
      pageSize: 1,
      pageToken: nextPageToken,
    });
    expect([...rooms, ...rest.rooms]).toEqual([other, archived.room]);
  });

  test("has members by handle, who come, are renamed and go", async () => {
    const alice = newWorkspace(installation).as("alice");
    const { roomId } = await createRoom(alice);
    await addPeople(alice, roomId, "zoe", "Bob.Builder");
    const agentId = await addAgent(alice, roomId, "Night Dispatcher", "night");
    const add = (principal: object, handle = "") => alice.rooms.addRoomMember({ roomId, principal, handle });
    expect(await refusal(add(user("carol"), "ZOE"))).toMatchObject({
      code: Code.AlreadyExists,
      reason: "HANDLE_TAKEN",
      metadata: { principal: "user:zoe" },
    });
    expect(await reasonFor(add({ type: PrincipalType.AGENT, id: `agt_${nobody}` }))).toBe("AGENT_NOT_FOUND");
    expect(await reasonFor(add({ type: PrincipalType.AGENT, id: "a.*" }))).toBe("AGENT_NOT_FOUND");
    expect(await reasonFor(add(user("a b")))).toBe("INVALID_REQUEST");
    expect(await reasonFor(add(user("a\0b")))).toBe("INVALID_REQUEST");
    expect((await add({ ...user("zoe"), onBehalfOf: [user("x")] }, "z")).member).toMatchObject({
      principal: user("zoe"),
      handle: "z",
    });
    const members = (page: object = {}) => alice.rooms.listRoomMembers({ roomId, ...page });
    const handles = ["alice", "bob.builder", "night-dispatcher", "z"];
    expect((await members()).members.map(({ handle }) => handle)).toEqual(handles);
    const half = await members({ pageSize: 2 });
    const rest = await members({ pageSize: 2, pageToken: half.nextPageToken });
    expect([...half.members, ...rest.members].map(({ handle }) => handle)).toEqual(handles);
    expect(rest.nextPageToken).toBe("");
    expect(rest.members[0]?.principal).toMatchObject({ type: PrincipalType.AGENT, id: agentId });
    const left = await alice.rooms.removeRoomMember({ roomId, principal: user("zoe") });
    expect(left.room?.memberCount).toBe(3);
    expect(await alice.rooms.removeRoomMember({ roomId, principal: user("zoe") })).toEqual(left);
    expect((await members()).members).toHaveLength(3);
  });

  test("that does not exist, or is another tenant's, is not found by any call", async () => {
    const alice = newWorkspace(installation).as("alice");
    const stranger = newWorkspace(installation).as("alice");
    const { roomId: theirs } = await createRoom(stranger);
    const { messageId } = await say(stranger, theirs, "hi");
    for (const roomId of [`room_${nobody}`, theirs]) {
      const { rooms } = alice;
      const calls = [
        rooms.getRoom({ roomId }),
        rooms.updateRoom({ room: { roomId, name: "x" }, updateMask: { paths: ["name"] } }),
        rooms.archiveRoom({ roomId }),
        rooms.addRoomMember({ roomId, principal: user("bob") }),
        rooms.removeRoomMember({ roomId, principal: user("bob") }),
        rooms.listRoomMembers({ roomId }),
        rooms.createThread({ roomId, title: "t" }),
        rooms.listThreads({ roomId }),
        rooms.postMessage({ roomId, text: "hi" }),
        rooms.listMessages({ roomId }),
        rooms.markRead({ roomId }),
        rooms.getRoomChanges({ roomId }),
      ];
      const notFound = { code: Code.NotFound, reason: "ROOM_NOT_FOUND" };
      expect(await Promise.all(calls.map(refusal))).toMatchObject(calls.map(() => notFound));
    }
    for (const id of [`msg_${nobody}`, messageId]) {
      const calls = [
        alice.rooms.getMessage({ messageId: id }),
        alice.rooms.editMessage({ messageId: id, text: "x" }),
        alice.rooms.redactMessage({ messageId: id }),
      ];
      expect(await Promise.all(calls.map(reasonFor))).toEqual(calls.map(() => "MESSAGE_NOT_FOUND"));
    }
    expect((await alice.rooms.listRooms({ minPosition: await headPosition(alice) })).rooms).toEqual([]);
    expect((await alice.rooms.listUnread({ minPosition: await headPosition(alice) })).rooms).toEqual([]);
  });
});

describe("a message", () => {
  test.each([
    ["Markdown with everything", "# A\r\n\n*b* <script>alert(1)</script> [x](javascript:0) \u202e é 👩‍🚀 \\@x &amp;\t"],
    ["64 KiB", "é".repeat(32_768)],
  ])("%s is kept to the byte", async (_what, text) => {
    const alice = newWorkspace(installation).as("alice");
    const { roomId } = await createRoom(alice);
    const posted = await say(alice, roomId, text);
    expect(posted).toMatchObject({ text, status: MessageStatus.POSTED, createBy: user("alice"), mentionDepth: 0 });
    expect((await alice.rooms.getMessage({ messageId: posted.messageId })).message).toEqual(posted);
    expect(await messagesOf(alice, roomId)).toEqual([posted]);
  });

  test.each([
    ["nothing", ""],
    ["more than 64 KiB", "é".repeat(32_769)],
    ["NUL", "a\0b"],
  ])("with %s is refused", async (_what, text) => {
    const alice = newWorkspace(installation).as("alice");
    const { roomId } = await createRoom(alice);
    expect(await refusal(say(alice, roomId, text))).toMatchObject({
      code: Code.InvalidArgument,
      reason: "INVALID_REQUEST",
    });
    expect(await messagesOf(alice, roomId)).toEqual([]);
  });

  test("is posted once for one request, also after the room was archived", async () => {
    const alice = newWorkspace(installation).as("alice");
    const { roomId } = await createRoom(alice);
    const post = (text: string) => alice.rooms.postMessage({ requestId: "once", roomId, text });
    const answers = await Promise.all([post("hi"), post("hi"), post("hi")]);
    expect(new Set(answers.map(({ message }) => message?.messageId)).size).toBe(1);
    expect(await reasonFor(post("ho"))).toBe("REQUEST_ID_REUSED");
    const kept = await say(alice, roomId, "kept");
    await alice.rooms.archiveRoom({ roomId });
    expect((await post("hi")).message).toEqual(answers[0]?.message);
    expect(await refusal(say(alice, roomId, "late"))).toMatchObject({
      reason: "INVALID_STATE",
      metadata: { status: "archived" },
    });
    const { messageId } = kept;
    expect(await reasonFor(alice.rooms.editMessage({ messageId, text: "late" }))).toBe("INVALID_STATE");
    expect(await reasonFor(alice.rooms.createThread({ roomId, title: "late" }))).toBe("INVALID_STATE");
    expect(await alice.rooms.redactMessage({ messageId })).toMatchObject({ message: { text: "" } });
    expect(await messagesOf(alice, roomId)).toHaveLength(2);
  });

  test("is edited by its author, redacted by anybody, and its text is in no read any more", async () => {
    const { as, workspaceId } = newWorkspace(installation);
    const [alice, bob] = [as("alice"), as("bob")];
    const { roomId } = await createRoom(alice);
    const { messageId, createPosition } = await say(alice, roomId, "the secret");
    const edit = (client: typeof alice, text: string) => client.rooms.editMessage({ messageId, text });
    expect(await refusal(edit(bob, "mine"))).toMatchObject({
      code: Code.PermissionDenied,
      reason: "PERMISSION_DENIED",
    });
    const gateway = installation.client({ workspaceId, onBehalfOf: ["service:gateway", "user:alice"] });
    const edited = await edit(gateway, "still the secret");
    expect(edited.message).toMatchObject({ text: "still the secret", status: MessageStatus.EDITED, createPosition });
    expect(await edit(alice, "still the secret")).toEqual(edited);
    const redacted = await bob.rooms.redactMessage({ messageId, reason: "not here" });
    expect(await alice.rooms.redactMessage({ messageId, reason: "again" })).toEqual(redacted);
    expect(redacted.message).toMatchObject({
      text: "",
      status: MessageStatus.REDACTED,
      redactReason: "not here",
      updateBy: user("bob"),
    });
    expect(await reasonFor(edit(alice, "back"))).toBe("INVALID_STATE");
    const minPosition = redacted.position;
    const changes = await bob.rooms.getRoomChanges({ roomId, afterPosition: 0n, minPosition });
    const { messages } = await alice.rooms.listMessages({ roomId, minPosition });
    const { message } = await alice.rooms.getMessage({ messageId });
    expect([message, messages[0], changes.messages[0]]).toEqual([redacted.message, redacted.message, redacted.message]);
    const { rows } = await installation.backend.postgres.db.query<{ resource: Buffer }>({
      name: "message_row",
      text: "select resource from messages where message_id = $1",
      values: [messageId],
    });
    expect(rows[0]?.resource.includes("secret")).toBe(false);
    const { events } = await alice.events.listEvents({ filter: { roomId, types: ["message.*"] }, minPosition });
    expect(events.map(({ type }) => type)).toEqual(["message.posted", "message.edited", "message.redacted"]);
  });

  test("refers to threads and messages of its own room only", async () => {
    const alice = newWorkspace(installation).as("alice");
    const [{ roomId }, { roomId: other }] = [await createRoom(alice), await createRoom(alice)];
    const { thread } = await alice.rooms.createThread({ roomId: other, title: "t" });
    const there = await say(alice, other, "there");
    const post = (more: object) => alice.rooms.postMessage({ roomId, text: "x", ...more });
    for (const threadId of [thread!.threadId, `th_${nobody}`]) {
      expect(await reasonFor(post({ threadId }))).toBe("THREAD_NOT_FOUND");
    }
    for (const replyToMessageId of [there.messageId, `msg_${nobody}`]) {
      expect(await reasonFor(post({ replyToMessageId }))).toBe("MESSAGE_NOT_FOUND");
    }
    const here = await say(alice, roomId, "here");
    expect((await post({ replyToMessageId: here.messageId })).message?.replyToMessageId).toBe(here.messageId);
  });
});

test("a thread holds its messages and knows them, and the filter of a feed finds both", async () => {
  const alice = newWorkspace(installation).as("alice");
  const { roomId } = await createRoom(alice);
  const create = () => alice.rooms.createThread({ roomId, title: "Night", requestId: "once" });
  const { thread } = await create();
  expect((await create()).thread).toEqual(thread);
  const { threadId } = thread!;
  await say(alice, roomId, "outside");
  const [one, two] = [await say(alice, roomId, "one", threadId), await say(alice, roomId, "two", threadId)];
  const { position: minPosition } = await alice.rooms.redactMessage({ messageId: one.messageId });
  const { threads } = await alice.rooms.listThreads({ roomId, minPosition });
  expect(threads).toMatchObject([
    { threadId, roomId, title: "Night", messageCount: 2n, lastMessageTime: two.createTime, position: minPosition },
  ]);
  const { messages } = await alice.rooms.listMessages({ roomId, threadId, minPosition });
  expect(messages.map(({ messageId }) => messageId)).toEqual([one.messageId, two.messageId]);
  const { run } = await alice.runs.createRun({ handler: "nobody", roomId, threadId });
  const { events } = await alice.events.listEvents({ filter: { threadId }, minPosition: run!.position });
  expect(events.map(({ type }) => type)).toEqual([
    "thread.created",
    "message.posted",
    "message.posted",
    "message.redacted",
    "run.created",
  ]);
});

test("a list of messages goes both ways, from a place on, page by page", async () => {
  const alice = newWorkspace(installation).as("alice");
  const { roomId } = await createRoom(alice);
  const said = [];
  for (let n = 0; n < 5; n++) said.push(await say(alice, roomId, `${n}`));
  const minPosition = said[4]!.position;
  for (const newestFirst of [false, true]) {
    const request = { roomId, newestFirst, afterPosition: said[0]!.createPosition, pageSize: 3, minPosition };
    const page = await alice.rooms.listMessages(request);
    const rest = await alice.rooms.listMessages({ ...request, pageToken: page.nextPageToken });
    const texts = [...page.messages, ...rest.messages].map(({ text }) => text);
    expect(newestFirst ? texts.toReversed() : texts).toEqual(["1", "2", "3", "4"]);
    expect(rest.nextPageToken).toBe("");
    expect(
      await reasonFor(
        alice.rooms.listMessages({ ...request, roomId, threadId: "th_1", pageToken: page.nextPageToken }),
      ),
    ).toBe("INVALID_REQUEST");
  }
  const far = await alice.rooms.listMessages({ roomId, afterPosition: 2n ** 64n - 1n, minPosition });
  expect(far.messages).toEqual([]);
});

describe("a read cursor", () => {
  test("moves forwards only, to everything so far, not into the future, and is no news in the room", async () => {
    const { as } = newWorkspace(installation);
    const [alice, bob] = [as("alice"), as("bob")];
    const { roomId } = await createRoom(alice);
    const [one, two] = [await say(alice, roomId, "one"), await say(alice, roomId, "two")];
    const read = (readPosition: bigint) => bob.rooms.markRead({ roomId, readPosition });
    const first = await read(one.createPosition);
    expect(first.cursor).toMatchObject({ roomId, principal: "user:bob", readPosition: one.createPosition });
    const all = await read(0n);
    expect(all.cursor?.readPosition).toBe(two.position);
    for (const again of [0n, one.createPosition, two.position]) expect(await read(again)).toEqual(all);
    const head = all.position;
    expect(await refusal(read(head + 1n))).toMatchObject({
      code: Code.OutOfRange,
      reason: "POSITION_IN_FUTURE",
      metadata: { head_position: String(head) },
    });
    expect(await reasonFor(read(2n ** 64n - 1n))).toBe("POSITION_IN_FUTURE");
    // The cursor's own events are behind the room's: who reads on records nothing.
    expect(head).toBeGreaterThan(two.position);
    expect(await read(head)).toEqual(all);
    const { events } = await bob.events.listEvents({ filter: { types: ["cursor.*"] }, minPosition: head });
    expect(events.map(({ type, roomId: room }) => [type, room])).toEqual([
      ["cursor.moved", ""],
      ["cursor.moved", ""],
    ]);
  });

  test("says what is unread: others' messages, not redacted ones, with mentions, the newest room first", async () => {
    const { as } = newWorkspace(installation);
    const [alice, bob] = [as("alice"), as("bob")];
    const quiet = await createRoom(alice, { name: "Quiet" });
    const busy = await createRoom(alice, { name: "Busy" });
    const foreign = await createRoom(alice, { name: "Foreign" });
    for (const { roomId } of [quiet, busy]) await addPeople(alice, roomId, "bob");
    await say(alice, foreign.roomId, "not for @bob");
    await say(alice, quiet.roomId, "hello");
    await say(bob, busy.roomId, "mine, @bob");
    const gone = await say(alice, busy.roomId, "gone @bob");
    const first = await say(alice, busy.roomId, "@bob please");
    const last = await say(alice, busy.roomId, "`@bob` now");
    let { position: minPosition } = await alice.rooms.redactMessage({ messageId: gone.messageId });
    const unread = (onlyUnread = false, page: object = {}) =>
      bob.rooms.listUnread({ onlyUnread, minPosition, ...page });
    expect((await unread()).rooms).toMatchObject([
      {
        roomId: busy.roomId,
        name: "Busy",
        unreadCount: 2n,
        mentionCount: 1n,
        readPosition: 0n,
        firstUnreadMessageId: first.messageId,
        lastPosition: last.createPosition,
      },
      { roomId: quiet.roomId, unreadCount: 1n, mentionCount: 0n },
    ]);
    const half = await unread(true, { pageSize: 1 });
    const rest = await unread(true, { pageSize: 1, pageToken: half.nextPageToken });
    expect([...half.rooms, ...rest.rooms].map(({ name }) => name)).toEqual(["Busy", "Quiet"]);
    expect(rest.nextPageToken).toBe("");
    ({ position: minPosition } = await bob.rooms.markRead({ roomId: busy.roomId }));
    expect((await unread(true)).rooms.map(({ name }) => name)).toEqual(["Quiet"]);
    expect((await unread()).rooms[0]).toMatchObject({ name: "Busy", unreadCount: 0n, firstUnreadMessageId: "" });
    const removal = { roomId: quiet.roomId, principal: user("bob") };
    ({ position: minPosition } = await alice.rooms.removeRoomMember(removal));
    expect((await unread()).rooms.map(({ name }) => name)).toEqual(["Busy"]);
  });
});

test("what has changed is one read: messages, runs without payloads, since the cursor or a place", async () => {
  const { as } = newWorkspace(installation);
  const [alice, bob] = [as("alice"), as("bob")];
  const { roomId } = await createRoom(alice);
  const [one, two] = [await say(alice, roomId, "one"), await say(alice, roomId, "two")];
  const { cursor } = await bob.rooms.markRead({ roomId });
  const { run } = await alice.runs.createRun({
    handler: "nobody",
    roomId,
    input: { kind: { case: "stringValue", value: "x" } },
  });
  const edited = await alice.rooms.editMessage({ messageId: one.messageId, text: "uno" });
  const three = await say(alice, roomId, "three");
  const minPosition = three.position;
  const changes = await bob.rooms.getRoomChanges({ roomId, minPosition });
  expect(changes).toMatchObject({
    afterPosition: cursor?.readPosition,
    position: minPosition,
    messages: [edited.message, three],
    messageCount: 2n,
    runs: [{ runId: run?.runId }],
    runCount: 1n,
    approvals: [],
    incidents: [],
  });
  expect(changes.runs[0]?.input).toBeUndefined();
  const all = await bob.rooms.getRoomChanges({ roomId, minPosition, afterPosition: 0n });
  expect(all.messages).toEqual([edited.message, two, three]);
  const none = await bob.rooms.getRoomChanges({ roomId, minPosition, afterPosition: 2n ** 64n - 1n });
  expect(none).toMatchObject({ messageCount: 0n, runCount: 0n });
  const { position } = await bob.rooms.markRead({ roomId, readPosition: changes.position });
  const nothing = await bob.rooms.getRoomChanges({ roomId, minPosition: position });
  expect(nothing).toMatchObject({ messageCount: 0n, runCount: 0n, afterPosition: changes.position });
});

test("what has changed fits into an answer: of a kind 768 KiB of the newest, with how many there are", async () => {
  const alice = newWorkspace(installation).as("alice");
  const { roomId } = await createRoom(alice);
  const texts = Array.from({ length: 15 }, (_, index) => `${index} `.padEnd(64 * 1024, "x"));
  for (const text of texts) await say(alice, roomId, text);
  const changes = await alice.rooms.getRoomChanges({
    roomId,
    afterPosition: 0n,
    minPosition: await headPosition(alice),
  });
  expect(changes.messageCount).toBe(15n);
  expect(changes.messages.map(({ text }) => text)).toEqual(texts.slice(-changes.messages.length));
  expect(changes.messages).toHaveLength(11);
});
