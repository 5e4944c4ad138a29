import { afterAll, expect, test } from "vitest";
import { PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { claim } from "./claims.ts";
import { askByCall, decision, mailOf } from "./people.ts";

const installation = await openInstallation({});
afterAll(() => installation[Symbol.asyncDispose]());

test("every event of a run and of what it asks carries its zone, its room, and who did it", async () => {
  const client = installation.client({ workspaceId: newWorkspaceId(), onBehalfOf: ["user:alice"] });
  const roomId = "room_yard";
  const { claimed, approval } = await askByCall(client, mailOf("hello"), { roomId, zone: Zone.HIGH_STAKES });
  const { leaseToken, run } = claimed;
  const wait = { condition: { case: "approval", value: { approvalId: approval.approvalId } } } as const;
  await client.engine.suspendRun({ leaseToken, conditions: [wait] });
  await client.onBehalfOf("user:bob").approvals.decideApproval(decision(approval));
  const again = { leaseToken: (await claim(client, run.handler)).leaseToken };
  const { toolCall } = await client.engine.startToolCall({ ...again, ...mailOf("hello") });
  await client.engine.succeedToolCall({ ...again, toolCallId: toolCall?.toolCallId ?? "" });
  const { position: minPosition } = await client.engine.completeRun(again);

  const { events } = await client.events.listEvents({ filter: { roomId }, minPosition });
  const types = ["run.created", "run.claimed", "approval.requested", "tool_call.gated", "run.suspended"];
  const afterwards = ["approval.decided", "run.approval_decided", "approval.consumed", "tool_call.started"];
  expect(events.map(({ type }) => type)).toEqual(expect.arrayContaining([...types, ...afterwards, "run.succeeded"]));
  expect(new Set(events.map(({ zone }) => zone))).toEqual(new Set([Zone.HIGH_STAKES]));
  const handler = { type: PrincipalType.SERVICE, id: `handler:${run.handler}`, onBehalfOf: [{ id: "alice" }] };
  const signalbox = { type: PrincipalType.SERVICE, id: "signalbox", onBehalfOf: [] };
  const actorOf = (type: string) => events.find((event) => event.type === type)?.actor;
  expect(actorOf("run.created")).toMatchObject({ type: PrincipalType.USER, id: "alice" });
  expect(actorOf("approval.decided")).toMatchObject({ type: PrincipalType.USER, id: "bob" });
  expect(actorOf("run.approval_decided")).toMatchObject(signalbox);
  for (const type of ["approval.requested", "tool_call.gated", "approval.consumed", "tool_call.started"]) {
    expect(actorOf(type), type).toMatchObject(handler);
  }
});

test("a program is a member of a room like others: it posts, is called, and has its unread messages", async () => {
  const workspaceId = newWorkspaceId();
  const alice = installation.client({ workspaceId, onBehalfOf: ["user:alice"] });
  const ci = installation.client({ workspaceId, onBehalfOf: ["service:ci"] });
  const { room } = await alice.rooms.createRoom({ name: "Yard" });
  const roomId = room?.roomId ?? "";
  const principal = { type: PrincipalType.SERVICE, id: "ci" };
  expect((await alice.rooms.addRoomMember({ roomId, principal })).member).toMatchObject({ handle: "ci", principal });
  const called = await alice.rooms.postMessage({ roomId, text: "@ci is it green?" });
  expect(called.message?.mentions).toMatchObject([{ handle: "ci", principal, runId: "" }]);
  const { rooms } = await ci.rooms.listUnread({ minPosition: called.position });
  expect(rooms).toMatchObject([{ roomId, unreadCount: 1n, mentionCount: 1n }]);
  const answered = await ci.rooms.postMessage({ roomId, text: "@alice it is" });
  expect(answered.message).toMatchObject({ author: principal, mentions: [{ handle: "alice" }] });
  await ci.rooms.markRead({ roomId });
  const { rooms: read } = await ci.rooms.listUnread({ minPosition: answered.position });
  expect(read).toMatchObject([{ unreadCount: 0n }]);
});
