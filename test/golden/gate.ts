import { create } from "@bufbuild/protobuf";
import { ApprovalStatus } from "../../gen/signalbox/v1/approval_pb.ts";
import { RunApprovalDecidedSchema, ToolCallDeniedSchema, ToolCallGatedSchema } from "../../gen/signalbox/v1/run_event_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { approvalId, decision, error, leaseId, stepId, text, toolCallId } from "./values.ts";

const call = {
  leaseId,
  toolCallId,
  key: "switch",
  stepId,
  tool: "points",
  effect: ToolEffect.EXTERNAL_WRITE,
  idempotent: true,
  arguments: text("left"),
  sequence: 13,
  version: "2.1.0",
  reversible: true,
  target: "track 4",
  decision,
  approvalId,
};

/** What stands between a run and the outside, in the stream of the run. */
export const gatePayloads = {
  runApprovalDecided: create(RunApprovalDecidedSchema, { approvalId, status: ApprovalStatus.APPROVED }),
  toolCallGated: create(ToolCallGatedSchema, { ...call, argumentsDigest: "6f1d" }),
  toolCallDenied: create(ToolCallDeniedSchema, { ...call, error }),
};
