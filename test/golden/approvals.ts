import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  ApprovalCanceledSchema,
  ApprovalConsumedSchema,
  ApprovalDecidedSchema,
  ApprovalDelegatedSchema,
  ApprovalEditedSchema,
  ApprovalEscalatedSchema,
  ApprovalExpiredSchema,
  ApprovalRequestedSchema,
} from "../../gen/signalbox/v1/approval_event_pb.ts";
import { ApprovalStatus, ApprovalVerdict } from "../../gen/signalbox/v1/approval_pb.ts";
import { PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { ada, decision, leaseId, runId, stepId, text, time, toolCallId } from "./values.ts";

/** What people are asked, and what they say. */
export const approvalPayloads = {
  approvalRequested: create(ApprovalRequestedSchema, {
    runId,
    toolCallId,
    stepId,
    agentId: "agt_01K9ZZZZZZZZZZZZZZZZZZZZZZ",
    action: { type: "points", target: "track 4", effect: ToolEffect.EXTERNAL_WRITE, reversible: true, idempotent: true },
    payload: text("left"),
    payloadDigest: "6f1d",
    decision,
    requestedBy: {
      type: PrincipalType.AGENT,
      id: "agt_01K9ZZZZZZZZZZZZZZZZZZZZZZ",
      onBehalfOf: [{ type: PrincipalType.USER, id: "ada@example.com" }],
    },
    deciders: ["user:bob", "user:carol"],
    expireTime: time(59),
    escalateTime: time(58),
    escalateDeciders: ["user:dora"],
    ttl: durationFromMs(3_600_000),
    editedBy: ada,
  }),
  approvalDecided: create(ApprovalDecidedSchema, {
    verdict: ApprovalVerdict.APPROVE,
    comment: "looked out of the window",
    payloadDigest: "6f1d",
    status: ApprovalStatus.APPROVED,
    expireTime: time(59),
    decideBy: ada,
  }),
  approvalEdited: create(ApprovalEditedSchema, {
    payload: text("right"),
    payloadDigest: "70aa",
    comment: "the other one",
    editedBy: ada,
  }),
  approvalDelegated: create(ApprovalDelegatedSchema, {
    delegateBy: "user:bob",
    delegateTo: "user:carol",
    comment: "end of shift",
  }),
  approvalEscalated: create(ApprovalEscalatedSchema, { deciders: ["user:dora"] }),
  approvalExpired: create(ApprovalExpiredSchema),
  approvalCanceled: create(ApprovalCanceledSchema, { reason: "the policy has changed" }),
  approvalConsumed: create(ApprovalConsumedSchema, {
    runId,
    toolCallId,
    stepId,
    leaseId,
    payloadDigest: "6f1d",
    policyHash: "6f1d",
  }),
};
