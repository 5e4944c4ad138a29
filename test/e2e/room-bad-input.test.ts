import { afterAll, describe, expect, test } from "vitest";
import { PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { IncidentKind } from "../../gen/signalbox/v1/incident_pb.ts";
import { RoomStatus } from "../../gen/signalbox/v1/room_pb.ts";
import { RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, type SignalboxClient } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { claim } from "./claims.ts";
import { quietly, recordedSince, vainly } from "./recorded.ts";
import { headPosition } from "./subscribed.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

const newClient = () => installation.client({ workspaceId: newWorkspaceId() });
const user = (id: string) => ({ type: PrincipalType.USER, id });

async function openRoom(client: SignalboxClient): Promise<string> {
  return (await client.rooms.createRoom({ name: "control" })).room?.roomId ?? "";
}

/** An agent that is a member of the room. */
async function addAgent(client: SignalboxClient, roomId: string, name: string): Promise<string> {
  const agentId = (await client.agents.createAgent({ name, handler: name })).agent?.agentId ?? "";
  await client.rooms.addRoomMember({ roomId, principal: { type: PrincipalType.AGENT, id: agentId } });
  return agentId;
}

test("an archived room takes nothing more, and shows what is in it", async () => {
  const client = newClient();
  const roomId = await openRoom(client);
  const { thread } = await client.rooms.createThread({ roomId, title: "launch" });
  const said = { requestId: "once", roomId, threadId: thread?.threadId ?? "", text: "hello" };
  const { message } = await client.rooms.postMessage(said);
  const messageId = message?.messageId ?? "";
  const { room, position } = await client.rooms.archiveRoom({ roomId });
  expect(room?.status).toBe(RoomStatus.ARCHIVED);
  const refused: Record<string, () => Promise<unknown>> = {
    post: () => client.rooms.postMessage({ roomId, text: "too late" }),
    reply: () => client.rooms.postMessage({ ...said, requestId: "twice", replyToMessageId: messageId }),
    edit: () => client.rooms.editMessage({ messageId, text: "something else" }),
    thread: () => client.rooms.createThread({ roomId, title: "late" }),
    member: () => client.rooms.addRoomMember({ roomId, principal: user("bob") }),
    rename: () => client.rooms.updateRoom({ room: { roomId, name: "x" }, updateMask: { paths: ["name"] } }),
  };
  for (const [what, call] of Object.entries(refused)) {
    const { reason } = await vainly(client, call);
    expect({ what, reason }).toEqual({ what, reason: "INVALID_STATE" });
  }
  // What was posted before may be asked for again, and archiving too.
  expect((await quietly(client, () => client.rooms.postMessage(said))).message).toEqual(message);
  await quietly(client, () => client.rooms.archiveRoom({ roomId }));
  expect((await client.rooms.listMessages({ roomId, minPosition: position })).messages).toEqual([message]);
});

test("an answer that comes when the room is archived leaves the run as it is, and the room as it was", async () => {
  const client = newClient();
  const roomId = await openRoom(client);
  await addAgent(client, roomId, "late");
  const { message } = await client.rooms.postMessage({ roomId, text: "@late are you there?" });
  const { run, leaseToken } = await claim(client, "late");
  expect(message?.mentions).toMatchObject([{ handle: "late", runId: run.runId }]);
  await client.rooms.archiveRoom({ roomId });
  const { position } = await client.engine.completeRun({ leaseToken, output: jsonValue("yes") });
  // The reactors go on: another room of the workspace gets its answer.
  const other = await openRoom(client);
  const [agent] = (await client.agents.listAgents({ minPosition: position })).agents;
  await client.rooms.addRoomMember({
    roomId: other,
    principal: { type: PrincipalType.AGENT, id: agent?.agentId ?? "" },
  });
  await client.rooms.postMessage({ roomId: other, text: "@late and now?" });
  await client.engine.completeRun({ leaseToken: (await claim(client, "late")).leaseToken, output: jsonValue("here") });
  await until(async () => (await textsOf(client, other)).includes("here"), { what: "the answer" });
  expect(await textsOf(client, roomId)).toEqual(["@late are you there?"]);
  expect((await client.runs.getRun({ runId: run.runId })).run).toMatchObject({ status: RunStatus.SUCCEEDED });
});

test("agents that mention each other are stopped after eight answers, and an incident says so", async () => {
  const client = newClient();
  const roomId = await openRoom(client);
  for (const name of ["ping", "pong"]) await addAgent(client, roomId, name);
  await client.rooms.postMessage({ roomId, text: "@ping begin" });
  for (let depth = 0; depth < 8; depth++) {
    const [me, other] = depth % 2 === 0 ? ["ping", "pong"] : ["pong", "ping"];
    const { leaseToken } = await claim(client, me);
    await client.engine.completeRun({ leaseToken, output: jsonValue(`@${other} your turn`) });
  }
  const incident = await until(
    async () => {
      const minPosition = await headPosition(client);
      const kinds = [IncidentKind.MENTION_LOOP];
      return (await client.incidents.listIncidents({ roomId, kinds, minPosition })).incidents[0];
    },
    { what: "the incident" },
  );
  const { messages } = await client.rooms.listMessages({ roomId, minPosition: await headPosition(client) });
  expect(messages.map(({ mentionDepth }) => mentionDepth)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  expect(messages.map(({ mentions }) => mentions.filter(({ runId }) => runId !== "").length)).toEqual([
    ...Array<number>(8).fill(1),
    0,
  ]);
  const links = incident.links.map(({ type, id }) => `${type} ${id}`);
  expect(links).toEqual(expect.arrayContaining([`room ${roomId}`, `message ${messages[8]?.messageId}`]));
  expect((await client.runs.listRuns({ roomId, minPosition: incident.position })).runs).toHaveLength(8);
  // Somebody says how it goes on.
  await client.rooms.postMessage({ roomId, text: "@pong end", replyToMessageId: messages[8]?.messageId ?? "" });
  const { run } = await claim(client, "pong");
  expect(run.messageId).not.toBe("");
});

test("a run that answers a message answers once, and one that answers none that is there ends all the same", async () => {
  const client = newClient();
  const roomId = await openRoom(client);
  const agentId = await addAgent(client, roomId, "solo");
  const { message } = await client.rooms.postMessage({ roomId, text: "are you there?" });
  const messageId = message?.messageId ?? "";
  for (const id of ["msg_01ARZ3NDEKTSV4RRFFQ69G5FAV", messageId]) {
    await client.runs.createRun({ agentId, roomId, messageId: id });
    const { leaseToken } = await claim(client, "solo");
    const ended = { leaseToken, output: jsonValue(`to ${id}`) };
    await client.engine.completeRun(ended);
    await client.engine.completeRun(ended);
  }
  await until(async () => (await textsOf(client, roomId)).length > 1, { what: "the answer" });
  expect(await textsOf(client, roomId)).toEqual(["are you there?", `to ${messageId}`]);
});

test("an agent that mentions itself, or posts by itself, calls nobody", async () => {
  const client = newClient();
  const roomId = await openRoom(client);
  const agentId = await addAgent(client, roomId, "solo");
  await addAgent(client, roomId, "duo");
  const acting = client.onBehalfOf(`agent:${agentId}`);
  const { message } = await acting.rooms.postMessage({ roomId, text: "@solo and @duo, wake up" });
  expect(message?.mentions).toMatchObject([{ handle: "duo", runId: "" }]);
  expect(message?.createBy).toMatchObject({ type: PrincipalType.AGENT, id: agentId });
});

describe("refused, and nothing recorded:", () => {
  test.each<[string, string, (client: SignalboxClient, ids: Ids) => Promise<unknown>]>([
    ["a thread of another room", "THREAD_NOT_FOUND", (c, { other, threadId }) => post(c, { roomId: other, threadId })],
    [
      "a reply to what is in another room",
      "MESSAGE_NOT_FOUND",
      (c, { other, messageId }) => post(c, { roomId: other, replyToMessageId: messageId }),
    ],
    [
      "a handle that somebody has",
      "HANDLE_TAKEN",
      (c, { roomId }) => c.rooms.addRoomMember({ roomId, principal: user("ada"), handle: "BOB" }),
    ],
    [
      "an agent that there is not",
      "AGENT_NOT_FOUND",
      (c, { roomId }) =>
        c.rooms.addRoomMember({
          roomId,
          principal: { type: PrincipalType.AGENT, id: "agt_01ARZ3NDEKTSV4RRFFQ69G5FAV" },
        }),
    ],
    [
      "an edit by somebody else",
      "PERMISSION_DENIED",
      (c, { messageId }) => c.onBehalfOf("user:eve").rooms.editMessage({ messageId, text: "mine" }),
    ],
    [
      "a stale etag",
      "ETAG_MISMATCH",
      (c, { roomId }) =>
        c.rooms.updateRoom({ room: { roomId, name: "x", etag: "0" }, updateMask: { paths: ["name"] } }),
    ],
    [
      "a mask of what can not be changed",
      "INVALID_REQUEST",
      (c, { roomId }) => c.rooms.updateRoom({ room: { roomId }, updateMask: { paths: ["status"] } }),
    ],
    [
      "an empty name",
      "INVALID_REQUEST",
      (c, { roomId }) => c.rooms.updateRoom({ room: { roomId, name: "" }, updateMask: { paths: ["name"] } }),
    ],
    [
      "a cursor in the future",
      "POSITION_IN_FUTURE",
      (c, { roomId }) => c.rooms.markRead({ roomId, readPosition: 2n ** 62n }),
    ],
    [
      "a cursor beyond what read models hold",
      "POSITION_IN_FUTURE",
      (c, { roomId }) => c.rooms.markRead({ roomId, readPosition: 2n ** 64n - 1n }),
    ],
  ])("%s", async (_what, reason, call) => {
    const { client, ...ids } = await someRoom;
    expect((await vainly(client, () => call(client, ids))).reason).toBe(reason);
  });

  test("an edit of what is redacted, by whomever", async () => {
    const client = newClient();
    const roomId = await openRoom(client);
    const { message } = await client.rooms.postMessage({ roomId, text: "secret" });
    const messageId = message?.messageId ?? "";
    const { position: minPosition } = await client.rooms.redactMessage({ messageId, reason: "a slip" });
    const edit = () => client.rooms.editMessage({ messageId, text: "secret again" });
    expect((await vainly(client, edit)).reason).toBe("INVALID_STATE");
    await quietly(client, () => client.rooms.redactMessage({ messageId, reason: "twice" }));
    const shown = [
      await client.rooms.getMessage({ messageId }),
      await client.rooms.listMessages({ roomId, minPosition }),
      await client.rooms.getRoomChanges({ roomId, afterPosition: 0n, minPosition }),
    ];
    const text = JSON.stringify(shown, (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value));
    expect(text).toContain("a slip");
    expect(text).not.toContain("secret");
  });
});

test("a cursor never moves backwards", async () => {
  const client = newClient();
  const roomId = await openRoom(client);
  const { message } = await client.rooms.postMessage({ roomId, text: "hello" });
  const { cursor } = await client.rooms.markRead({ roomId });
  expect(cursor?.readPosition).toBeGreaterThanOrEqual(message?.createPosition ?? 0n);
  const back = await quietly(client, () => client.rooms.markRead({ roomId, readPosition: 1n }));
  expect(back.cursor).toEqual(cursor);
});

test("one message calls twenty members at most", async () => {
  const client = newClient();
  const roomId = await openRoom(client);
  const names = Array.from({ length: 22 }, (_, n) => `a${n}`);
  for (const id of names) await client.rooms.addRoomMember({ roomId, principal: user(id) });
  const before = await headPosition(client);
  const text = names.map((name) => `@${name}`).join(" ");
  const { message } = await client.rooms.postMessage({ roomId, text });
  expect(message?.mentions.map(({ handle }) => handle)).toEqual(names.slice(0, 20));
  expect((await recordedSince(client, before)).map(({ type }) => type)).toEqual(["message.posted"]);
});

type Ids = Readonly<Record<"roomId" | "other" | "threadId" | "messageId", string>>;

const someRoom = makeRooms(newClient());

async function makeRooms(client: SignalboxClient) {
  const [roomId, other] = [await openRoom(client), await openRoom(client)];
  await client.rooms.addRoomMember({ roomId, principal: user("bob") });
  const { thread } = await client.rooms.createThread({ roomId, title: "launch" });
  const { message } = await client.rooms.postMessage({ roomId, text: "hello" });
  const ids: Ids = { roomId, other, threadId: thread?.threadId ?? "", messageId: message?.messageId ?? "" };
  return { client, ...ids };
}

function post(client: SignalboxClient, more: Parameters<SignalboxClient["rooms"]["postMessage"]>[0]) {
  return client.rooms.postMessage({ text: "hello", ...more });
}

async function textsOf(client: SignalboxClient, roomId: string): Promise<string[]> {
  const { messages } = await client.rooms.listMessages({ roomId, minPosition: await headPosition(client) });
  return messages.map(({ text }) => text);
}
