import type { Event } from "../../gen/signalbox/v1/event_pb.ts";

/** What happened: the payload of an event, never unset. */
export type EventPayload = Exclude<Event["payload"], { case: undefined }>;

/** The name of each payload, as `Event.type` has it. A payload without a name does not compile. */
export const eventTypes = {
  runCreated: "run.created",
  runClaimed: "run.claimed",
  runReleased: "run.released",
  runAttemptFailed: "run.attempt_failed",
  runLeaseExpired: "run.lease_expired",
  runSucceeded: "run.succeeded",
  runFailed: "run.failed",
  runCanceled: "run.canceled",
  runSuspended: "run.suspended",
  runWoken: "run.woken",
  runChildEnded: "run.child_ended",
  runMessageReceived: "run.message_received",
  runPauseRequested: "run.pause_requested",
  runPaused: "run.paused",
  runResumed: "run.resumed",
  runApprovalDecided: "run.approval_decided",
  runArtifactAdded: "run.artifact_added",
  stepStarted: "step.started",
  stepCompleted: "step.completed",
  stepFailed: "step.failed",
  stepReused: "step.reused",
  toolCallStarted: "tool_call.started",
  toolCallSucceeded: "tool_call.succeeded",
  toolCallFailed: "tool_call.failed",
  toolCallReconciled: "tool_call.reconciled",
  toolCallReused: "tool_call.reused",
  toolCallGated: "tool_call.gated",
  toolCallDenied: "tool_call.denied",
  agentCreated: "agent.created",
  agentUpdated: "agent.updated",
  agentArchived: "agent.archived",
  queueUpdated: "queue.updated",
  scheduleCreated: "schedule.created",
  scheduleUpdated: "schedule.updated",
  scheduleFired: "schedule.fired",
  scheduleArchived: "schedule.archived",
  sessionCompacted: "session.compacted",
  documentAdded: "document.added",
  documentDeleted: "document.deleted",
  roomCreated: "room.created",
  roomUpdated: "room.updated",
  roomArchived: "room.archived",
  roomMemberAdded: "room.member_added",
  roomMemberRemoved: "room.member_removed",
  threadCreated: "thread.created",
  messagePosted: "message.posted",
  messageEdited: "message.edited",
  messageRedacted: "message.redacted",
  cursorMoved: "cursor.moved",
  policyPut: "policy.put",
  killSwitchFlipped: "kill_switch.flipped",
  approvalRequested: "approval.requested",
  approvalDecided: "approval.decided",
  approvalEdited: "approval.edited",
  approvalDelegated: "approval.delegated",
  approvalEscalated: "approval.escalated",
  approvalExpired: "approval.expired",
  approvalCanceled: "approval.canceled",
  approvalConsumed: "approval.consumed",
  incidentOpened: "incident.opened",
  incidentRecurred: "incident.recurred",
  incidentAcknowledged: "incident.acknowledged",
  incidentNoteAdded: "incident.note_added",
  incidentResolved: "incident.resolved",
  artifactCreated: "artifact.created",
  artifactDeleted: "artifact.deleted",
  artifactRestored: "artifact.restored",
  artifactExpired: "artifact.expired",
  artifactPurged: "artifact.purged",
  artifactHeld: "artifact.held",
  artifactHoldReleased: "artifact.hold_released",
  artifactGranted: "artifact.granted",
  artifactGrantRevoked: "artifact.grant_revoked",
  artifactLinkCreated: "artifact.link_created",
  artifactLinkRevoked: "artifact.link_revoked",
  artifactAccessed: "artifact.accessed",
  workspaceKeyRotated: "workspace_key.rotated",
  workspaceKeyDestroyed: "workspace_key.destroyed",
  suitePut: "suite.put",
  suiteArchived: "suite.archived",
} as const satisfies Record<EventPayload["case"], string>;

/** The name of an event type, for example `run.created`. */
export type EventType = (typeof eventTypes)[EventPayload["case"]];

/** What happens in the stream of a run. */
export type RunPayload = Extract<EventPayload, { case: `run${string}` | `step${string}` | `toolCall${string}` }>;

const runCase = /^(?:run|step|toolCall)[A-Z]/;

/** True for a payload that belongs in the stream of a run. */
export function isRunPayload(payload: Event["payload"]): payload is RunPayload {
  return payload.case !== undefined && runCase.test(payload.case);
}

/** The event types that end a run. */
export const terminalRunTypes: ReadonlySet<string> = new Set<EventType>([
  "run.succeeded",
  "run.failed",
  "run.canceled",
]);
