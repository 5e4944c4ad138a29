import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Approval } from "../../gen/signalbox/v1/approval_pb.ts";
import { SignalboxError } from "../kernel/errors.ts";
import type { ApprovalState } from "./state.ts";

/** Unknown ids and ids of another tenant or run look the same. */
export function approvalNotFound(approvalId: string): SignalboxError {
  return new SignalboxError("APPROVAL_NOT_FOUND", `approval ${approvalId} does not exist in this workspace`);
}

/** True when its time is over, whether that is on record yet or not. What is held has no time. */
export function isLapsed(state: ApprovalState, now: Date): boolean {
  if (state.status !== "pending" && state.status !== "approved") return false;
  const { expireTime } = state.approval;
  return expireTime !== undefined && timestampMs(expireTime) <= now.getTime();
}

/**
 * The approval, about which people may still say something. APPROVAL_NOT_FOUND, APPROVAL_EXPIRED, APPROVAL_ALREADY_DECIDED,
 * APPROVAL_CONSUMED, INVALID_STATE when it was canceled.
 */
export function requireUndecided(state: ApprovalState, approvalId: string, now: Date): Approval {
  if (isLapsed(state, now)) throw expired(approvalId);
  switch (state.status) {
    case "absent":
      throw approvalNotFound(approvalId);
    case "pending":
    case "held":
      return state.approval;
    case "approved":
    case "denied":
      throw alreadyDecided(approvalId, `it is ${state.status} for good`, state.status);
    case "expired":
      throw expired(approvalId);
    case "consumed":
      throw new SignalboxError("APPROVAL_CONSUMED", `approval ${approvalId} has been used; what it was for has begun`, {
        approval_id: approvalId,
      });
    case "canceled":
      throw canceled(state.approval);
  }
}

/** APPROVAL_ALREADY_DECIDED. */
export function alreadyDecided(approvalId: string, why: string, status: string): SignalboxError {
  return new SignalboxError("APPROVAL_ALREADY_DECIDED", `approval ${approvalId} is decided: ${why}`, {
    approval_id: approvalId,
    status: status.toUpperCase(),
  });
}

/** APPROVAL_EXPIRED. */
export function expired(approvalId: string): SignalboxError {
  return new SignalboxError(
    "APPROVAL_EXPIRED",
    `approval ${approvalId} was not used in time, which is no denial; what is needed still has to be asked for again`,
    { approval_id: approvalId },
  );
}

/** INVALID_STATE. */
export function canceled({ approvalId, cancelReason }: Approval): SignalboxError {
  return new SignalboxError("INVALID_STATE", `approval ${approvalId} was canceled: ${cancelReason}`, {
    approval_id: approvalId,
    status: "CANCELED",
  });
}

/** PAYLOAD_MISMATCH. The digest is not told: whoever approves is to have read what it is of. */
export function payloadMismatch(approvalId: string): SignalboxError {
  return new SignalboxError(
    "PAYLOAD_MISMATCH",
    `payload_digest is not that of the present payload of approval ${approvalId}; read it with GetApproval, look at the payload, decide on that`,
    { approval_id: approvalId },
  );
}
