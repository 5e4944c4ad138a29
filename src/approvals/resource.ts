import { create } from "@bufbuild/protobuf";
import { durationMs, type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import type {
  ApprovalConsumed,
  ApprovalDecided,
  ApprovalDelegated,
  ApprovalEdited,
  ApprovalRequested,
} from "../../gen/signalbox/v1/approval_event_pb.ts";
import {
  type Approval,
  ApprovalConsumptionSchema,
  ApprovalDecisionSchema,
  ApprovalSchema,
  ApprovalStatus,
} from "../../gen/signalbox/v1/approval_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { EventPayload } from "../eventlog/event-type.ts";
import { approversOf } from "./rights.ts";

/** What happens in the stream of an approval. */
export type ApprovalPayload = Extract<EventPayload, { case: `approval${string}` }>;

/** True for a payload that belongs in the stream of an approval. */
export function isApprovalPayload(payload: Event["payload"]): payload is ApprovalPayload {
  return payload.case?.startsWith("approval") ?? false;
}

/** The approval after an event of its stream; undefined until it is requested. Pure. */
export function evolveApproval(approval: Approval | undefined, event: Event): Approval | undefined {
  const { payload } = event;
  if (payload.case === "approvalRequested") return requested(event, payload.value);
  if (approval === undefined) return undefined;
  if (!isApprovalPayload(payload)) return approval;
  return { ...changed(approval, event, payload), position: event.position };
}

/**
 * When something becomes of it by itself, it lapses or more people may decide, whichever is first; undefined when nothing
 * does. Pure.
 */
export function dueTimeOf({ status, expireTime, escalateTime }: Approval): Timestamp | undefined {
  if (status === ApprovalStatus.APPROVED) return expireTime;
  if (status !== ApprovalStatus.PENDING) return undefined;
  if (expireTime === undefined || escalateTime === undefined) return expireTime ?? escalateTime;
  return timestampMs(escalateTime) < timestampMs(expireTime) ? escalateTime : expireTime;
}

function requested(event: Event, request: ApprovalRequested): Approval {
  const { decision } = request;
  const terms = decision?.terms;
  return create(ApprovalSchema, {
    approvalId: event.stream?.id ?? "",
    workspaceId: event.workspaceId,
    roomId: event.roomId,
    runId: request.runId,
    toolCallId: request.toolCallId,
    stepId: request.stepId,
    agentId: request.agentId,
    action: request.action,
    payload: request.payload,
    payloadDigest: request.payloadDigest,
    risk: decision?.risk ?? 0,
    reasonCodes: decision?.reasonCodes ?? [],
    message: decision?.message ?? "",
    status: ApprovalStatus.PENDING,
    zone: event.zone,
    requestedBy: request.requestedBy,
    edited: request.editedBy !== undefined,
    editedBy: request.editedBy,
    requiredCount: terms?.requiredCount || 1,
    requiredApprovers: terms?.deciders ?? [],
    deciders: request.deciders,
    expireTime: request.expireTime,
    escalateTime: request.escalateTime,
    escalateTo: terms?.escalateTo ?? [],
    policyVersion: decision?.policyVersion ?? 0n,
    policyHash: decision?.policyHash ?? "",
    matchedRule: decision?.matchedRule ?? "",
    createTime: event.createTime,
    position: event.position,
    ttlMs: BigInt(request.ttl ? durationMs(request.ttl) : 0),
  });
}

function changed(approval: Approval, event: Event, payload: ApprovalPayload): Approval {
  switch (payload.case) {
    case "approvalDecided":
      return decided(approval, event, payload.value);
    case "approvalEdited":
      return edited(approval, event, payload.value);
    case "approvalDelegated":
      return delegated(approval, payload.value);
    case "approvalEscalated":
      return { ...named(approval, payload.value.deciders), escalated: true, escalateTime: undefined };
    case "approvalExpired":
      return { ...approval, status: ApprovalStatus.EXPIRED, endTime: event.createTime };
    case "approvalCanceled":
      return {
        ...approval,
        status: ApprovalStatus.CANCELED,
        endTime: event.createTime,
        cancelReason: payload.value.reason,
      };
    case "approvalConsumed":
      return consumed(approval, event, payload.value);
    case "approvalRequested":
      return approval;
  }
}

function decided(approval: Approval, event: Event, value: ApprovalDecided): Approval {
  const { verdict, comment, payloadDigest, status, expireTime, decideBy } = value;
  const { createTime: decideTime, position } = event;
  const decision = create(ApprovalDecisionSchema, { verdict, decideBy, comment, payloadDigest, decideTime, position });
  const next: Approval = { ...approval, decisions: [...approval.decisions, decision], status, expireTime };
  const over = status === ApprovalStatus.APPROVED || status === ApprovalStatus.DENIED;
  return {
    ...next,
    approveCount: approversOf(next).length,
    decideTime: over ? decideTime : undefined,
    endTime: status === ApprovalStatus.DENIED ? decideTime : undefined,
  };
}

function edited(approval: Approval, event: Event, { payload, payloadDigest, editedBy }: ApprovalEdited): Approval {
  const { position: editPosition } = event;
  return { ...approval, payload, payloadDigest, editedBy, edited: true, editPosition, approveCount: 0 };
}

function delegated(approval: Approval, { delegateBy, delegateTo }: ApprovalDelegated): Approval {
  const before: Approval = {
    ...approval,
    deciders: approval.deciders.filter((name) => name !== delegateBy),
    delegatedBy: [...approval.delegatedBy, delegateBy],
  };
  return named(before, [delegateTo]);
}

/** The approval with more who may decide, also those who had let somebody else do it. */
function named(approval: Approval, names: readonly string[]): Approval {
  return {
    ...approval,
    deciders: [...new Set([...approval.deciders, ...names])],
    delegatedBy: approval.delegatedBy.filter((name) => !names.includes(name)),
  };
}

function consumed(approval: Approval, event: Event, value: ApprovalConsumed): Approval {
  const { runId, toolCallId, stepId, leaseId, payloadDigest } = value;
  const { createTime: consumeTime, position } = event;
  const use = { runId, toolCallId, stepId, leaseId, payloadDigest, consumeTime, position };
  return {
    ...approval,
    status: ApprovalStatus.CONSUMED,
    endTime: consumeTime,
    consumption: create(ApprovalConsumptionSchema, use),
  };
}
