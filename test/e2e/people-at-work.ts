import { expect } from "vitest";
import { ApprovalStatus, ApprovalVerdict } from "../../gen/signalbox/v1/approval_pb.ts";
import { PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { IncidentSeverity, IncidentStatus } from "../../gen/signalbox/v1/incident_pb.ts";
import { PipelineStageKind } from "../../gen/signalbox/v1/pipeline_service_pb.ts";
import { Decision } from "../../gen/signalbox/v1/policy_pb.ts";
import { MessageStatus, RoomStatus } from "../../gen/signalbox/v1/room_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, type SignalboxClient } from "../../src/client/client.ts";
import { askByCall, askByStep, decision, mail } from "./people.ts";
import { reasonFor } from "./refusal.ts";

// Everything that people do, method by method, for those who check that it can be done over every protocol.

const text = "grüße 🚂";

/** Calls every method of RoomService. */
export async function talk(client: SignalboxClient): Promise<void> {
  const { rooms } = client;
  const created = await rooms.createRoom({ name: text, topic: "all of it" });
  const roomId = created.room?.roomId ?? "";
  const bob = { type: PrincipalType.USER, id: "bob" };
  expect((await rooms.addRoomMember({ roomId, principal: bob })).member).toMatchObject({ handle: "bob" });
  expect((await rooms.listRoomMembers({ roomId })).members).toMatchObject([
    { handle: "bob" },
    { principal: created.room?.createBy },
  ]);
  const threadId = (await rooms.createThread({ roomId, title: text })).thread?.threadId ?? "";
  const posted = await rooms.postMessage({ roomId, threadId, text: `@bob ${text}` });
  expect(posted.message).toMatchObject({ text: `@bob ${text}`, mentions: [{ handle: "bob", principal: bob }] });
  const messageId = posted.message?.messageId ?? "";
  const edited = await rooms.editMessage({ messageId, text });
  const minPosition = edited.position;
  expect((await rooms.getMessage({ messageId })).message).toEqual(edited.message);
  expect((await rooms.listMessages({ roomId, threadId, minPosition })).messages).toEqual([edited.message]);
  expect((await rooms.listThreads({ roomId, minPosition })).threads).toMatchObject([{ title: text, messageCount: 1n }]);
  const ofBob = client.onBehalfOf("user:bob");
  const unread = { roomId, unreadCount: 1n, mentionCount: 1n, firstUnreadMessageId: messageId };
  expect((await ofBob.rooms.listUnread({ minPosition })).rooms).toMatchObject([unread]);
  const changes = await ofBob.rooms.getRoomChanges({ roomId, minPosition });
  expect(changes).toMatchObject({ afterPosition: 0n, messages: [{ messageId }], messageCount: 1n });
  expect((await ofBob.rooms.markRead({ roomId })).cursor).toMatchObject({ principal: "user:bob" });
  const redacted = await rooms.redactMessage({ messageId, reason: text });
  expect(redacted.message).toMatchObject({ text: "", status: MessageStatus.REDACTED, redactReason: text });
  await rooms.removeRoomMember({ roomId, principal: bob });
  await rooms.updateRoom({ room: { roomId, topic: text }, updateMask: { paths: ["topic"] } });
  const { room } = await rooms.archiveRoom({ roomId });
  expect(room).toMatchObject({ name: text, topic: text, status: RoomStatus.ARCHIVED, memberCount: 1 });
  expect((await rooms.getRoom({ roomId })).room).toEqual(room);
  expect((await rooms.listRooms({ includeArchived: true, minPosition: room?.position ?? 0n })).rooms).toEqual([room]);
  await seeBoard(client, roomId);
}

async function seeBoard(client: SignalboxClient, roomId: string): Promise<void> {
  const { run, position: minPosition } = await client.runs.createRun({ handler: "nobody", roomId });
  const { stages, position } = await client.pipeline.getSnapshot({ roomId, minPosition });
  expect(stages.map(({ kind }) => kind)).toEqual([1, 2, 3, 4, 5, 6]);
  const inbox = { kind: PipelineStageKind.INBOX, count: 1n, items: [{ runId: run?.runId, roomId }] };
  expect(stages[0]).toMatchObject(inbox);
  expect(position).toBeGreaterThanOrEqual(minPosition);
}

/** Calls every method of ApprovalService. */
export async function decideOnApprovals(client: SignalboxClient): Promise<void> {
  const { approvals } = client;
  const { claimed, approval: asked } = await askByStep(client, { payload: jsonValue({ text, n: 1.5 }) });
  const { approvalId, payloadDigest } = asked;
  const [alice, bob] = [client.onBehalfOf("user:alice"), client.onBehalfOf("user:bob")];
  const held = await alice.approvals.decideApproval({ ...decision(asked, ApprovalVerdict.HOLD), comment: text });
  expect(held.approval).toMatchObject({ status: ApprovalStatus.HELD, decisions: [{ comment: text }] });
  const payload = jsonValue({ text: `${text}!` });
  const edited = await alice.approvals.editApproval({ approvalId, payloadDigest, payload, comment: text });
  expect(edited.approval).toMatchObject({ payload, edited: true, editedBy: { id: "alice" } });
  const delegated = await alice.approvals.delegateApproval({ approvalId, delegateTo: "user:bob" });
  expect(delegated.approval).toMatchObject({ deciders: ["user:bob"], delegatedBy: ["user:alice"] });
  const approved = await bob.approvals.decideApproval(decision(edited.approval!));
  const minPosition = approved.position;
  expect((await approvals.getApproval({ approvalId, minPosition })).approval).toEqual(approved.approval);
  const statuses = [ApprovalStatus.APPROVED];
  expect((await approvals.listApprovals({ statuses, minPosition })).approvals).toEqual([approved.approval]);
  const { leaseToken } = claimed;
  const consumed = await approvals.consumeApproval({ leaseToken, approvalId });
  expect(consumed.approval).toMatchObject({ status: ApprovalStatus.CONSUMED, payload });
  await client.engine.completeRun({ leaseToken });
}

/** Calls the methods of PolicyService that keep policies. Leaves a policy that allows everything. */
export async function keepPolicy(client: SignalboxClient): Promise<void> {
  const { claimed } = await askByCall(client);
  const action = { type: mail.tool, effect: ToolEffect.EXTERNAL_WRITE };
  const { decision: before } = await client.policy.evaluate({ context: { action } });
  expect(before).toMatchObject({ decision: Decision.REQUIRE_APPROVAL, policyVersion: 0n });
  const policy = { cedar: '@id("open") permit(principal, action, resource);', note: text };
  const { position: afterPosition } = claimed;
  const { position: minPosition } = await client.engine.completeRun({ leaseToken: claimed.leaseToken });
  const { flips, complete } = await client.policy.simulatePolicy({ policy, afterPosition, minPosition });
  expect({ complete, flips }).toMatchObject({
    complete: true,
    flips: [{ runId: claimed.run.runId, simulated: { decision: Decision.ALLOW, matchedRule: "open" } }],
  });
  const { policy: put, position } = await client.policy.putPolicy({ policy });
  expect(put).toMatchObject({ version: 1n, ...policy });
  expect((await client.policy.getPolicy({})).policy).toEqual(put);
  expect((await client.policy.listPolicyVersions({ minPosition: position })).policies).toEqual([put]);
}

/** Calls the methods of PolicyService that stop external writes. Lets them go on in the end. */
export async function stopWrites(client: SignalboxClient): Promise<void> {
  const { claimed } = await askByCall(client);
  const { leaseToken, run } = claimed;
  const flipped = await client.policy.setKillSwitch({ on: true, reason: text });
  expect(flipped.killSwitch).toMatchObject({ on: true, reason: text });
  expect(await reasonFor(client.engine.startToolCall({ leaseToken, ...mail, key: "stopped" }))).toBe("KILL_SWITCH_ON");
  const minPosition = (await client.engine.completeRun({ leaseToken })).position;
  expect(await client.policy.getKillSwitch({ minPosition })).toMatchObject({
    externalWritesStopped: true,
    killEpoch: flipped.killSwitch?.position,
    workspace: flipped.killSwitch,
    stopped: [{ runId: run.runId, tool: mail.tool, underWay: false }],
  });
  await client.policy.setKillSwitch({ on: false });
}

/** Calls every method of IncidentService. */
export async function keepIncident(client: SignalboxClient): Promise<void> {
  const { incidents } = client;
  const severity = IncidentSeverity.CRITICAL;
  const opened = await incidents.openIncident({ title: text, description: text, severity });
  const incidentId = opened.incident?.incidentId ?? "";
  expect((await incidents.getIncident({ incidentId })).incident).toEqual(opened.incident);
  await incidents.acknowledgeIncident({ incidentId });
  await incidents.addIncidentNote({ incidentId, text });
  const { incident, position } = await incidents.resolveIncident({ incidentId, rootCause: text, learning: text });
  expect(incident).toMatchObject({ status: IncidentStatus.RESOLVED, notes: [{ text }], rootCause: text, severity });
  const { incidents: listed } = await incidents.listIncidents({ minSeverity: severity, minPosition: position });
  expect(listed).toEqual([incident]);
}
