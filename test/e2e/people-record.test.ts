import { afterAll, expect, test } from "vitest";
import { PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { claim } from "./claims.ts";
import { askAgain, decision, mailOf } from "./people.ts";

const installation = await openInstallation({});
afterAll(() => installation[Symbol.asyncDispose]());

test("every event of a run and of what it asks carries its zone, its room, and who did it for whom", async () => {
  const workspaceId = newWorkspaceId();
  const as = (name: string) => installation.client({ workspaceId, onBehalfOf: [name] });
  const [alice, bob, worker] = [as("user:alice"), as("user:bob"), as("service:worker")];
  const roomId = "room_yard";
  const { agent } = await alice.agents.createAgent({ name: "Mailer", handler: "mailer", zone: Zone.HIGH_STAKES });
  const agentId = agent?.agentId ?? "";
  await alice.runs.createRun({ agentId, roomId });
  const { leaseToken } = await claim(worker, "mailer");
  const approval = await askAgain(worker, leaseToken);
  const wait = { condition: { case: "approval", value: { approvalId: approval.approvalId } } } as const;
  await worker.engine.suspendRun({ leaseToken, conditions: [wait] });
  await bob.approvals.decideApproval(decision(approval));
  const again = { leaseToken: (await claim(worker, "mailer")).leaseToken };
  const { toolCall } = await worker.engine.startToolCall({ ...again, ...mailOf("hello") });
  await worker.engine.succeedToolCall({ ...again, toolCallId: toolCall?.toolCallId ?? "" });
  const { position: minPosition } = await worker.engine.completeRun(again);

  const { events } = await alice.events.listEvents({ filter: { roomId }, minPosition });
  expect(new Set(events.map(({ zone }) => zone))).toEqual(new Set([Zone.HIGH_STAKES]));
  const actors = events.map(
    ({ type, actor }) => `${type} ${[actor, ...(actor?.onBehalfOf ?? [])].map((each) => each?.id).join(" for ")}`,
  );
  const working = `worker for ${agentId} for alice`;
  expect(actors.toSorted()).toEqual(
    [
      "run.created alice",
      `run.claimed ${working}`,
      `tool_call.gated ${working}`,
      `approval.requested ${working}`,
      `run.suspended ${working}`,
      "approval.decided bob",
      "run.approval_decided signalbox",
      `run.claimed ${working}`,
      `approval.consumed ${working}`,
      `tool_call.started ${working}`,
      `tool_call.succeeded ${working}`,
      `run.succeeded ${working}`,
    ].toSorted(),
  );
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
  expect(answered.message).toMatchObject({ createBy: principal, mentions: [{ handle: "alice" }] });
  const { position: minPosition } = await ci.rooms.markRead({ roomId });
  const { rooms: read } = await ci.rooms.listUnread({ minPosition });
  expect(read).toMatchObject([{ unreadCount: 0n }]);
});
