import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Event } from "../../../gen/signalbox/v1/event_pb.ts";
import { ApprovalStatusSchema, ApprovalVerdictSchema } from "../../../gen/signalbox/v1/approval_pb.ts";
import {
  AccessMethodSchema,
  AccessOutcomeSchema,
  type ArtifactAccess,
  type Grantee,
} from "../../../gen/signalbox/v1/artifact_pb.ts";
import type { ArtifactCreated } from "../../../gen/signalbox/v1/artifact_event_pb.ts";
import { ZoneSchema } from "../../../gen/signalbox/v1/common_pb.ts";
import { IncidentKindSchema, IncidentSeveritySchema } from "../../../gen/signalbox/v1/incident_pb.ts";
import { KillSwitchScopeSchema, type PolicyDecision } from "../../../gen/signalbox/v1/policy_pb.ts";
import type { LeaseEnd } from "../../../gen/signalbox/v1/run_event_pb.ts";
import { PauseReasonSchema, RunEndReasonSchema, RunStatusSchema } from "../../../gen/signalbox/v1/run_pb.ts";
import { enumName } from "../../kernel/enum-name.ts";
import { actionText, errorText, labelsText, nameText, principalText, shorten, shortJson, timeText } from "./values.ts";
import { conditionsText } from "./waiting.ts";

const maxDetail = 120;

/** Tells events line by line; remembers what steps and tool calls are called, because their later events do not say. */
export interface Timeline {
  /** `+0.012s  run.claimed  …`, the time since the first event that was told. */
  since(event: Event): string;
  /** `<position>  <time>  run.claimed  <stream>  …`, for events of many streams. */
  at(event: Event): string;
  /** `run.claimed  <stream>  …`, for who tells the time by themselves. */
  short(event: Event): string;
}

/** A timeline without events. */
export function createTimeline(): Timeline {
  const names = new Map<string, string>();
  let startMs: number | undefined;

  function detail(event: Event): string {
    const { payload } = event;
    if (payload.case === "stepStarted") names.set(payload.value.stepId, payload.value.name || payload.value.key);
    if (payload.case === "toolCallStarted" || payload.case === "toolCallGated" || payload.case === "toolCallDenied") {
      names.set(payload.value.toolCallId, payload.value.tool);
    }
    return shorten(
      detailOf(event, (id) => names.get(id) ?? id),
      maxDetail,
    );
  }

  return {
    since(event) {
      const ms = event.createTime === undefined ? 0 : timestampMs(event.createTime);
      startMs ??= ms;
      const seconds = ((ms - startMs) / 1_000).toFixed(3);
      return `${`+${seconds}s`.padStart(10)}  ${event.type.padEnd(20)}  ${detail(event)}`.trimEnd();
    },
    short: (event) => [event.type, event.stream?.id ?? "", detail(event)].join("  ").trimEnd(),
    at(event) {
      const cells = [String(event.position).padStart(7), timeText(event.createTime), event.type.padEnd(20)];
      return [...cells, event.stream?.id ?? "", detail(event)].join("  ").trimEnd();
    },
  };
}

function detailOf(event: Event, nameOf: (id: string) => string): string {
  const { payload } = event;
  switch (payload.case) {
    case "runCreated": {
      const { handler, agentId, input, labels } = payload.value;
      return words(handler, agentId, labelsText(labels), shortJson(input, 60), by(event));
    }
    case "runClaimed": {
      const { attempt, workerId, lost } = payload.value;
      return words(`attempt ${attempt} by ${workerId}`, lost && `after a lapsed lease${left(lost, nameOf)}`);
    }
    case "runReleased":
      return words(payload.value.reason, left(payload.value.lease, nameOf));
    case "runAttemptFailed":
      return words(errorText(payload.value.error, 80), `next attempt from ${timeText(payload.value.availableTime)}`);
    case "runLeaseExpired":
      return words("no heartbeat in time", left(payload.value.lease, nameOf));
    case "runSucceeded":
      return shortJson(payload.value.output, maxDetail);
    case "runFailed":
      return words(enumName(RunEndReasonSchema, payload.value.endReason), errorText(payload.value.error, maxDetail));
    case "runCanceled":
      return words(payload.value.reason, by(event));
    case "runSuspended":
      return `waits for ${conditionsText(payload.value.conditions)}`;
    case "runWoken":
      return "the time has come";
    case "runChildEnded":
      return words(payload.value.childRunId, enumName(RunStatusSchema, payload.value.status));
    case "runMessageReceived":
      return words(payload.value.threadId, shortJson(payload.value.content, 60), by(event));
    case "runPauseRequested":
      return words(payload.value.note, by(event));
    case "runPaused": {
      const { reason, note, error, lease } = payload.value;
      return words(enumName(PauseReasonSchema, reason), note, errorText(error, 80), left(lease, nameOf));
    }
    case "runResumed":
      return words(payload.value.note, by(event));
    case "runApprovalDecided":
      return words(payload.value.approvalId, enumName(ApprovalStatusSchema, payload.value.status));
    case "stepStarted":
      return words(nameOf(payload.value.stepId), shortJson(payload.value.input, 60));
    case "stepCompleted":
      return words(nameOf(payload.value.stepId), shortJson(payload.value.output, 60));
    case "stepFailed":
      return words(nameOf(payload.value.stepId), errorText(payload.value.error, 80));
    case "stepReused":
      return words(nameOf(payload.value.stepId), `on record in ${payload.value.runId}`);
    case "toolCallReused":
      return words(nameOf(payload.value.toolCallId), `on record in ${payload.value.runId}`);
    case "toolCallStarted":
      return words(nameOf(payload.value.toolCallId), shortJson(payload.value.arguments, 60));
    case "toolCallGated": {
      const { toolCallId, approvalId, arguments: args, decision } = payload.value;
      const why = approvalId === "" ? "a kill switch is on" : `needs ${approvalId}`;
      return words(nameOf(toolCallId), why, reasonsText(decision), shortJson(args, 60));
    }
    case "toolCallDenied":
      return words(
        nameOf(payload.value.toolCallId),
        errorText(payload.value.error, 80),
        reasonsText(payload.value.decision),
      );
    case "toolCallSucceeded":
      return words(nameOf(payload.value.toolCallId), shortJson(payload.value.result, 60));
    case "toolCallFailed":
      return words(nameOf(payload.value.toolCallId), errorText(payload.value.error, 80));
    case "toolCallReconciled":
      return words(nameOf(payload.value.toolCallId), payload.value.note, shortJson(payload.value.result, 60));
    case "agentCreated":
    case "agentUpdated":
      return words(payload.value.agent?.name, by(event));
    case "agentArchived":
      return by(event);
    case "queueUpdated":
      return words(payload.value.queue?.name, by(event));
    case "scheduleCreated":
    case "scheduleUpdated": {
      const { name, cron, timeZone } = payload.value.schedule ?? {};
      return words(name, cron, timeZone, by(event));
    }
    case "scheduleFired":
      return words(`for ${timeText(payload.value.time)}`, payload.value.runId, payload.value.error);
    case "scheduleArchived":
      return by(event);
    case "sessionCompacted":
      return `${payload.value.turnCount} turns through ${payload.value.throughRunId}`;
    case "documentAdded":
      return words(payload.value.document?.collection, payload.value.document?.title);
    case "documentDeleted":
      return by(event);
    case "roomCreated":
    case "roomUpdated": {
      const { name, topic, zone } = payload.value;
      return words(name, shorten(topic, 60), enumName(ZoneSchema, zone), by(event));
    }
    case "roomArchived":
      return by(event);
    case "roomMemberAdded":
      return words(`@${payload.value.handle}`, nameText(payload.value.principal), by(event));
    case "roomMemberRemoved":
      return words(nameText(payload.value.principal), by(event));
    case "threadCreated":
      return words(payload.value.title, by(event));
    case "messagePosted": {
      const { text, mentionsRefused } = payload.value;
      return words(
        by(event),
        shorten(text, 80),
        mentionsRefused ? "agents are not called: too many answers in a row" : "",
      );
    }
    case "messageEdited":
      return words(by(event), shorten(payload.value.text, 80));
    case "messageRedacted":
      return words(by(event), payload.value.reason);
    case "cursorMoved":
      return words(payload.value.principal, payload.value.roomId, `has read up to ${payload.value.readPosition}`);
    case "policyPut":
      return words(`version ${payload.value.policy?.version ?? 0n}`, payload.value.policy?.note, by(event));
    case "killSwitchFlipped": {
      const { scope, on, reason } = payload.value;
      return words(on ? "on" : "off", enumName(KillSwitchScopeSchema, scope), reason, by(event));
    }
    case "approvalRequested": {
      const { action, decision, payload: asked } = payload.value;
      return words(actionText(action), reasonsText(decision), shortJson(asked, 60), by(event));
    }
    case "approvalDecided": {
      const { verdict, status, comment } = payload.value;
      const verdictText = enumName(ApprovalVerdictSchema, verdict);
      return words(verdictText, `now ${enumName(ApprovalStatusSchema, status)}`, comment, by(event));
    }
    case "approvalEdited":
      return words(shortJson(payload.value.payload, 60), payload.value.comment, by(event));
    case "approvalDelegated":
      return words(`${payload.value.delegateBy} to ${payload.value.delegateTo}`, payload.value.comment);
    case "approvalEscalated":
      return `to ${payload.value.deciders.join(", ")}`;
    case "approvalExpired":
      return "nobody has decided, or used it, in time";
    case "approvalCanceled":
      return payload.value.reason;
    case "approvalConsumed":
      return words(payload.value.runId, payload.value.toolCallId || payload.value.stepId);
    case "incidentOpened": {
      const { title, severity, kind } = payload.value;
      return words(enumName(IncidentSeveritySchema, severity), title, enumName(IncidentKindSchema, kind), by(event));
    }
    case "incidentRecurred":
      return payload.value.links.map(({ id }) => id).join(", ");
    case "incidentAcknowledged":
      return words(payload.value.comment, by(event));
    case "incidentNoteAdded":
      return words(shorten(payload.value.text, 80), by(event));
    case "incidentResolved":
      return words(shorten(payload.value.rootCause, 80), by(event));
    case "runArtifactAdded":
      return words(payload.value.artifactId, fileText(payload.value.artifact), by(event));
    case "artifactCreated":
      return words(fileText(payload.value), by(event));
    case "artifactDeleted":
      return words(payload.value.reason, `until ${timeText(payload.value.purgeTime)} it can be restored`, by(event));
    case "artifactExpired":
      return `until ${timeText(payload.value.purgeTime)} it can be restored`;
    case "artifactRestored":
    case "artifactPurged":
    case "artifactHeld":
    case "artifactHoldReleased":
      return words(payload.value.reason, by(event));
    case "artifactGranted":
      return words(`to ${granteeText(payload.value.grantee)}`, by(event));
    case "artifactGrantRevoked":
      return words(payload.value.grantId, by(event));
    case "artifactLinkCreated":
      return words(`good until ${timeText(payload.value.expireTime)}`, by(event));
    case "artifactLinkRevoked":
      return words(payload.value.linkId, by(event));
    case "artifactAccessed":
      return accessText(payload.value.access);
    case "workspaceKeyRotated":
      return words(payload.value.keyId, by(event));
    case "workspaceKeyDestroyed":
      return words(payload.value.keyIds.join(", "), payload.value.reason, by(event));
    case "suitePut":
      return words(payload.value.suite?.name, `version ${payload.value.suite?.version ?? 0n}`, by(event));
    case "suiteArchived":
      return by(event);
    case undefined:
      return "a kind of event that this program does not know; upgrade it";
  }
}

/** What a lease left behind when it ended. */
function left(lease: LeaseEnd | undefined, nameOf: (id: string) => string): string {
  const unknown = lease?.unknownToolCallIds ?? [];
  return unknown.length === 0 ? "" : `, outcome unknown: ${unknown.map(nameOf).join(", ")}`;
}

function fileText(artifact: ArtifactCreated | undefined): string {
  return artifact === undefined ? "" : `${shorten(artifact.name, 60)}  ${artifact.sizeBytes} bytes`;
}

function granteeText(grantee: Grantee | undefined): string {
  return grantee?.who.value ?? "nobody";
}

function accessText(access: ArtifactAccess | undefined): string {
  if (access === undefined) return "";
  const { artifactId, method, outcome, principal, detail, repeatedCount } = access;
  const more = repeatedCount === 0n ? "" : `and ${repeatedCount} more`;
  const what = `${enumName(AccessMethodSchema, method)} ${enumName(AccessOutcomeSchema, outcome)}`;
  return words(artifactId, what, detail, more, `by ${principalText(principal)}`);
}

function by(event: Event): string {
  return `by ${principalText(event.actor)}`;
}

function reasonsText(decision: PolicyDecision | undefined): string {
  return decision === undefined ? "" : decision.reasonCodes.join(", ");
}

function words(...parts: (string | undefined)[]): string {
  return parts.filter((part) => part !== undefined && part !== "").join("  ");
}
