import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { type Event, EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { MessageSchema, MessageStatus, RoomMemberSchema } from "../../gen/signalbox/v1/room_pb.ts";
import { RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue } from "../../src/client/json.ts";
import { callOf } from "../../src/kernel/call.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { principalName } from "../../src/kernel/principal.ts";
import { type FakeServices, openFakeServer } from "./fake-server.ts";
import { spawnSignalbox } from "./signalbox.ts";

const roomId = "room_lab";
const at = (seconds: number) => timestampFromDate(new Date(Date.UTC(2026, 10, 21, 8, 0, seconds)));
const alice = { type: PrincipalType.USER, id: "alice" };
const desk = { type: PrincipalType.AGENT, id: "agt_01ARZ3NDEKTSV4RRFFQ69G5FAV" };

describe("rooms", () => {
  test("create and update send what is given", async () => {
    const requests: unknown[] = [];
    await using server = await openFakeServer({
      rooms: {
        createRoom(request, context) {
          requests.push({ ...request, by: principalName(callOf(context).principal) });
          return { room: { roomId, name: request.name, zone: request.zone } };
        },
        updateRoom(request) {
          requests.push(request);
          return { room: { roomId } };
        },
      },
    });
    const created = ["rooms", "create", "--name", "Lab", "--zone", "supervised", "--as", "user:alice"];
    expect(await server.text(...created)).toMatch(/room +room_lab\nname +Lab\n[^]*zone +SUPERVISED/);
    await server.json("rooms", "update", roomId, "--topic", "", "--etag", "3");
    expect(requests).toMatchObject([
      { name: "Lab", zone: Zone.SUPERVISED, by: "user:alice" },
      { room: { roomId, topic: "", etag: "3" }, updateMask: { paths: ["topic"] } },
    ]);
  });

  test("members are listed without saying so, added and removed by their names", async () => {
    const changes: string[] = [];
    await using server = await openFakeServer({
      rooms: {
        listRoomMembers: () => ({ members: [{ principal: alice, handle: "alice", addTime: at(0), addBy: alice }] }),
        addRoomMember({ principal, handle }) {
          changes.push(`add ${principalName(principal ?? alice)} ${handle}`);
          return { member: { principal: principal ?? alice, handle } };
        },
        removeRoomMember({ principal }) {
          changes.push(`rm ${principalName(principal ?? alice)}`);
          return { room: { roomId } };
        },
      },
    });
    expect(await server.text("rooms", "members", roomId)).toMatch(/^@alice +user:alice +2026-11-21 08:00:00Z +alice$/m);
    await server.text("rooms", "members", "add", roomId, `agent:${desk.id}`, "--handle", "desk");
    await server.text("rooms", "members", "rm", roomId, "user:alice");
    expect(changes).toEqual([`add agent:${desk.id} desk`, "rm user:alice"]);
  });

  test("changes, unread and read are those of whoever calls", async () => {
    const who: string[] = [];
    await using server = await openFakeServer({
      rooms: {
        listRoomMembers: () => ({ members: [{ principal: desk, handle: "desk" }] }),
        getRoomChanges(request, context) {
          who.push(principalName(callOf(context).principal));
          expect(request.afterPosition).toBeUndefined();
          const message = { messageId: "msg_1", text: "All is well.", createBy: desk, createTime: at(5) };
          const runs = [{ runId: "run_1", handler: "echo", status: RunStatus.SUCCEEDED }];
          return { afterPosition: 3n, position: 9n, messages: [message], messageCount: 7n, runs, runCount: 1n };
        },
        listUnread({ onlyUnread }) {
          const rooms = [{ roomId, name: "Lab", unreadCount: 2n, mentionCount: 1n }];
          return { rooms: onlyUnread ? rooms : [...rooms, { roomId: "room_b", name: "B" }] };
        },
        markRead: ({ readPosition }) => ({ cursor: { roomId, principal: "user:alice", readPosition } }),
      },
    });
    expect(await server.text("rooms", "changes", roomId, "--as", "user:alice")).toMatch(
      /^changed after 3 up to 9\n\n7 messages, the last 1:\n08:00:05 {2}desk {2}All is well\.\n\n1 runs:\n[^]*run_1 +SUCCEEDED +echo/,
    );
    expect(who).toEqual(["user:alice"]);
    expect(await server.text("rooms", "unread")).toMatch(/^room_lab +Lab +2 +1 +0$/m);
    expect(await server.list("rooms", "unread", "--all")).toHaveLength(2);
    expect(await server.text("rooms", "read", roomId, "--position", "9")).toBe("user:alice has read up to 9\n");
  });

  test("a room that is not there is named with the way out", async () => {
    await using server = await openFakeServer({
      rooms: {
        getRoom() {
          throw new SignalboxError("ROOM_NOT_FOUND", "there is no room_lab");
        },
      },
    });
    expect((await server.run("rooms", "show", roomId)).stderr).toMatch(/\(ROOM_NOT_FOUND\)\nhint: signalbox rooms ls/);
  });
});

describe("say", () => {
  const rooms: FakeServices["rooms"] = {
    postMessage: ({ text }) => ({
      message: { messageId: "msg_1", text, mentions: [{ handle: "desk", principal: desk, runId: "run_1" }] },
    }),
  };

  test("posts what begins with a mention, and names the runs that answer", async () => {
    await using server = await openFakeServer({ rooms });
    expect(await server.text("say", roomId, "@desk what is open?")).toBe("msg_1\n  @desk answers in run_1\n");
  });

  test("reads stdin for -", async () => {
    await using server = await openFakeServer({ rooms });
    const env = { SIGNALBOX_URL: server.url };
    const { stdout } = await spawnSignalbox(["say", roomId, "-", "--json"], env, "line 1\nline 2\n");
    expect(JSON.parse(stdout)).toMatchObject({ text: "line 1\nline 2\n" });
  });
});

describe("tail", () => {
  const posted = (position: bigint, text: string, id: string): Event =>
    create(EventSchema, {
      position,
      type: "message.posted",
      stream: { type: "message", id },
      actor: { type: PrincipalType.SERVICE, id: "gateway", onBehalfOf: [alice] },
      createTime: at(Number(position)),
      payload: { case: "messagePosted", value: { text } },
    });
  const events: Event[] = [
    posted(3n, "a secret", "msg_00000000000000000000000001"),
    create(EventSchema, {
      position: 4n,
      type: "message.redacted",
      stream: { type: "message", id: "msg_00000000000000000000000001" },
      payload: { case: "messageRedacted", value: { reason: "oops" } },
    }),
    create(EventSchema, { position: 6n, type: "run.claimed", payload: { case: "runClaimed", value: {} } }),
    create(EventSchema, {
      position: 7n,
      type: "approval.requested",
      stream: { type: "approval", id: "appr_1" },
      actor: desk,
      createTime: at(7),
      payload: {
        case: "approvalRequested",
        value: { action: { type: "mail.send" }, decision: { reasonCodes: ["R"] } },
      },
    }),
    posted(8n, "two\nlines", "msg_00000000000000000000000002"),
    create(EventSchema, {
      position: 9n,
      type: "run.created",
      stream: { type: "run", id: "run_1" },
      actor: alice,
      createTime: at(9),
      payload: { case: "runCreated", value: { handler: "desk", messageId: "msg_1", input: jsonValue("a secret") } },
    }),
    create(EventSchema, {
      position: 10n,
      type: "run.succeeded",
      stream: { type: "run", id: "run_1" },
      createTime: at(10),
      payload: { case: "runSucceeded", value: { output: jsonValue("you said: a secret") } },
    }),
  ];
  const known = create(MessageSchema, {
    messageId: "msg_00000000000000000000000001",
    status: MessageStatus.REDACTED,
    redactReason: "oops",
    createBy: alice,
    createTime: at(3),
    createPosition: 3n,
  });
  const services: FakeServices = {
    rooms: {
      listRoomMembers: () => ({ members: [create(RoomMemberSchema, { principal: alice, handle: "al" })] }),
      listMessages: ({ newestFirst }) => ({ messages: newestFirst ? [known] : [] }),
      getMessage: () => ({ message: known }),
    },
    events: {
      async *subscribe({ fromPosition, filter }) {
        yield { frame: { case: "ready", value: { headPosition: 5n } } };
        for (const event of filter?.roomId === roomId ? events : []) {
          if (event.position > fromPosition) yield { frame: { case: "event", value: event } };
        }
      },
    },
  };

  test("tells messages as a chat, others in a line, and what was redacted not at all", async () => {
    await using server = await openFakeServer(services);
    expect((await server.text("tail", "--room", roomId)).split("\n")).toEqual([
      "08:00:03  al  (redacted: oops)",
      "08:00:07  · approval.requested  appr_1  mail.send  R  by agt_01ARZ3NDEKTSV4RRFFQ69G5FAV",
      "08:00:08  al",
      "    two",
      "    lines",
      "08:00:09  · run.created  run_1  desk  by alice",
      "08:00:10  · run.succeeded  run_1",
      "",
    ]);
  });

  test("begins now with --last 0, and prints events with --json", async () => {
    await using server = await openFakeServer(services);
    const told = await server.list<{ position: string }>("tail", "--room", roomId, "--last", "0");
    expect(told.map(({ position }) => position)).toEqual(["6", "7", "8", "9", "10"]);
  });

  test("follows a room that nobody has created, and says so", async () => {
    await using server = await openFakeServer({
      ...services,
      rooms: {
        listRoomMembers() {
          throw new SignalboxError("ROOM_NOT_FOUND", "there is no room_lab");
        },
        listMessages() {
          throw new SignalboxError("ROOM_NOT_FOUND", "there is no room_lab");
        },
      },
    });
    const { code, stdout, stderr } = await server.run("tail", "--room", roomId);
    expect(code).toBe(0);
    expect(stderr).toContain("nobody has created room_lab");
    expect(stdout).toContain("approval.requested");
  });
});
