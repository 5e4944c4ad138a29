import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  ApprovalCanceledSchema,
  ApprovalEscalatedSchema,
  ApprovalExpiredSchema,
} from "../../gen/signalbox/v1/approval_event_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { isLapsed } from "./refusals.ts";
import type { ApprovalState } from "./state.ts";

/** approval.expired when its time is over, else approval.escalated when it is time for that; else nothing. Time allows nothing. */
export function passTime(state: ApprovalState, now: Date): Draft | undefined {
  return expireApproval(state, now) ?? escalateApproval(state, now);
}

/** approval.canceled; nothing when it has ended or was never asked for. */
export function cancelApproval(state: ApprovalState, reason: string): Draft | undefined {
  if (state.status !== "pending" && state.status !== "held" && state.status !== "approved") return undefined;
  const value = create(ApprovalCanceledSchema, { reason });
  return { payload: { case: "approvalCanceled", value }, zone: state.approval.zone };
}

function expireApproval(state: ApprovalState, now: Date): Draft | undefined {
  if (state.status === "absent" || !isLapsed(state, now)) return undefined;
  return { payload: { case: "approvalExpired", value: create(ApprovalExpiredSchema) }, zone: state.approval.zone };
}

function escalateApproval(state: ApprovalState, now: Date): Draft | undefined {
  if (state.status !== "pending") return undefined;
  const { approval, escalateDeciders } = state;
  const { escalateTime, zone } = approval;
  if (escalateTime === undefined || timestampMs(escalateTime) > now.getTime()) return undefined;
  const value = create(ApprovalEscalatedSchema, { deciders: [...escalateDeciders] });
  return { payload: { case: "approvalEscalated", value }, zone };
}
