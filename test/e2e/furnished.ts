import type { SignalboxClient } from "../../src/client/client.ts";
import { askByStep } from "./people.ts";

/** Ids of a workspace that has one of everything that is for people. */
export interface Furnished {
  readonly roomId: string;
  readonly threadId: string;
  readonly messageId: string;
  readonly runId: string;
  readonly leaseToken: string;
  readonly stepId: string;
  readonly approvalId: string;
  readonly payloadDigest: string;
  readonly incidentId: string;
}

/** Puts one of everything that is for people into a workspace. */
export async function furnish(client: SignalboxClient, requestId = ""): Promise<Furnished> {
  const { room } = await client.rooms.createRoom({ name: "control", requestId });
  const roomId = room?.roomId ?? "";
  const { thread } = await client.rooms.createThread({ roomId, title: "launch", requestId });
  const threadId = thread?.threadId ?? "";
  const { message } = await client.rooms.postMessage({ roomId, threadId, text: "hello", requestId });
  const { incident } = await client.incidents.openIncident({ title: "leak", roomId, idempotencyKey: requestId });
  const { claimed, stepId, approval } = await askByStep(client, {}, { roomId, threadId });
  return {
    roomId,
    threadId,
    messageId: message?.messageId ?? "",
    runId: claimed.run.runId,
    leaseToken: claimed.leaseToken,
    stepId,
    approvalId: approval.approvalId,
    payloadDigest: approval.payloadDigest,
    incidentId: incident?.incidentId ?? "",
  };
}

/** A good request of every method that is for people, as JSON. A new method must be entered here. */
export function goodRequests(there: Furnished): Record<string, object> {
  const { roomId, threadId, messageId, runId, leaseToken, stepId, approvalId, payloadDigest, incidentId } = there;
  const action = { type: "launch", target: "pad 39A", effect: "TOOL_EFFECT_EXTERNAL_WRITE" };
  const bob = { type: "PRINCIPAL_TYPE_USER", id: "bob" };
  const cedar = "permit(principal, action, resource);";
  return {
    "RoomService/CreateRoom": { name: "control", topic: "all of it" },
    "RoomService/GetRoom": { roomId },
    "RoomService/ListRooms": {},
    "RoomService/UpdateRoom": { room: { roomId, name: "control", topic: "t" }, updateMask: "name,topic" },
    "RoomService/ArchiveRoom": { roomId },
    "RoomService/AddRoomMember": { roomId, principal: bob, handle: "bob" },
    "RoomService/RemoveRoomMember": { roomId, principal: bob },
    "RoomService/ListRoomMembers": { roomId },
    "RoomService/CreateThread": { roomId, title: "launch" },
    "RoomService/ListThreads": { roomId },
    "RoomService/PostMessage": { roomId, threadId, text: "hello", replyToMessageId: messageId },
    "RoomService/EditMessage": { messageId, text: "hello" },
    "RoomService/RedactMessage": { messageId, reason: "none" },
    "RoomService/GetMessage": { messageId },
    "RoomService/ListMessages": { roomId, threadId },
    "RoomService/MarkRead": { roomId, readPosition: "1" },
    "RoomService/ListUnread": {},
    "RoomService/GetRoomChanges": { roomId, afterPosition: "0" },
    "ApprovalService/RequestApproval": { leaseToken, stepId, action, payload: { countdown: 10 }, message: "may we" },
    "ApprovalService/GetApproval": { approvalId },
    "ApprovalService/ListApprovals": { runId, roomId, assignee: "me" },
    "ApprovalService/DecideApproval": { approvalId, verdict: "APPROVAL_VERDICT_HOLD", comment: "wait", payloadDigest },
    "ApprovalService/EditApproval": { approvalId, payload: { countdown: 9 }, comment: "less", payloadDigest },
    "ApprovalService/DelegateApproval": { approvalId, delegateTo: "user:bob", comment: "you do it" },
    "ApprovalService/ConsumeApproval": { leaseToken, approvalId },
    "PolicyService/Evaluate": { context: { action }, policy: { cedar } },
    "PolicyService/SimulatePolicy": { policy: { cedar } },
    "PolicyService/PutPolicy": { policy: { cedar, note: "open" }, validateOnly: true },
    "PolicyService/GetPolicy": {},
    "PolicyService/ListPolicyVersions": {},
    "PolicyService/SetKillSwitch": { on: false, reason: "none" },
    "PolicyService/GetKillSwitch": {},
    "IncidentService/OpenIncident": { title: "leak", description: "it leaks", roomId },
    "IncidentService/GetIncident": { incidentId },
    "IncidentService/ListIncidents": { roomId },
    "IncidentService/AcknowledgeIncident": { incidentId, comment: "on it" },
    "IncidentService/AddIncidentNote": { incidentId, text: "a valve" },
    "IncidentService/ResolveIncident": { incidentId, rootCause: "a valve", learning: "look at valves" },
    "PipelineService/GetSnapshot": { roomId },
  };
}
