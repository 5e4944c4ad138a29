import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import type { ErrorReason } from "../../gen/signalbox/v1/error_reason_pb.ts";

/** A cause from the closed list in error_reason.proto, without the enum's prefix. */
export type Reason = Exclude<keyof typeof ErrorReason, "UNSPECIFIED">;

/** The gRPC code of each reason: the one table. */
const codeOf = {
  INVALID_REQUEST: Code.InvalidArgument,
  RUN_NOT_FOUND: Code.NotFound,
  AGENT_NOT_FOUND: Code.NotFound,
  EVENT_NOT_FOUND: Code.NotFound,
  STEP_NOT_FOUND: Code.NotFound,
  TOOL_CALL_NOT_FOUND: Code.NotFound,
  INVALID_STATE: Code.FailedPrecondition,
  LEASE_LOST: Code.FailedPrecondition,
  REQUEST_ID_REUSED: Code.AlreadyExists,
  ETAG_MISMATCH: Code.Aborted,
  CONTENTION: Code.Aborted,
  PAYLOAD_TOO_LARGE: Code.ResourceExhausted,
  QUOTA_EXCEEDED: Code.ResourceExhausted,
  POSITION_IN_FUTURE: Code.OutOfRange,
  POSITION_EXPIRED: Code.OutOfRange,
  UNAUTHENTICATED: Code.Unauthenticated,
  PERMISSION_DENIED: Code.PermissionDenied,
  STORE_UNAVAILABLE: Code.Unavailable,
  DRAINING: Code.Unavailable,
  READ_MODEL_BEHIND: Code.DeadlineExceeded,
  NOT_IMPLEMENTED: Code.Unimplemented,
  BUDGET_EXCEEDED: Code.FailedPrecondition,
  PAUSE_REQUESTED: Code.FailedPrecondition,
  QUEUE_NOT_FOUND: Code.NotFound,
  SCHEDULE_NOT_FOUND: Code.NotFound,
  SESSION_NOT_FOUND: Code.NotFound,
  DOCUMENT_NOT_FOUND: Code.NotFound,
  APPROVAL_NOT_FOUND: Code.NotFound,
  APPROVAL_REQUIRED: Code.FailedPrecondition,
  APPROVAL_DENIED: Code.FailedPrecondition,
  APPROVAL_EXPIRED: Code.FailedPrecondition,
  APPROVAL_ALREADY_DECIDED: Code.FailedPrecondition,
  APPROVAL_CONSUMED: Code.FailedPrecondition,
  SELF_APPROVAL: Code.PermissionDenied,
  PAYLOAD_MISMATCH: Code.FailedPrecondition,
  POLICY_DENIED: Code.PermissionDenied,
  KILL_SWITCH_ON: Code.FailedPrecondition,
  POLICY_NOT_FOUND: Code.NotFound,
  ROOM_NOT_FOUND: Code.NotFound,
  THREAD_NOT_FOUND: Code.NotFound,
  MESSAGE_NOT_FOUND: Code.NotFound,
  HANDLE_TAKEN: Code.AlreadyExists,
  INCIDENT_NOT_FOUND: Code.NotFound,
  ARTIFACT_NOT_FOUND: Code.NotFound,
  ARTIFACT_EXPIRED: Code.FailedPrecondition,
  CHECKSUM_MISMATCH: Code.InvalidArgument,
  ARTIFACT_CORRUPT: Code.DataLoss,
  UPLOAD_NOT_FOUND: Code.NotFound,
  GRANT_NOT_FOUND: Code.NotFound,
  RATE_LIMITED: Code.ResourceExhausted,
  SUITE_NOT_FOUND: Code.NotFound,
  EVALUATION_NOT_FOUND: Code.NotFound,
} as const satisfies Record<Reason, Code>;

/** The domain of every ErrorInfo that Signalbox sends. */
export const errorDomain = "signalbox";

/** The only error that the product throws on purpose. `message` goes to the client: it names the problem and the way out. */
export class SignalboxError extends Error {
  override readonly name = "SignalboxError";
  readonly reason: Reason;
  readonly metadata: Record<string, string>;

  constructor(reason: Reason, message: string, metadata: Record<string, string> = {}, cause?: unknown) {
    super(message, { cause });
    this.reason = reason;
    this.metadata = metadata;
  }
}

/** True for a SignalboxError with one of the given reasons. */
export function hasReason(error: unknown, ...reasons: Reason[]): error is SignalboxError {
  return error instanceof SignalboxError && reasons.includes(error.reason);
}

/**
 * The error as a client may see it: a SignalboxError with its code and ErrorInfo, a ConnectError as it is, anything else
 * as a bare INTERNAL whose cause stays on this side for the log.
 */
export function toConnectError(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error;
  if (!(error instanceof SignalboxError)) {
    return new ConnectError("internal error", Code.Internal, undefined, undefined, error);
  }
  const info = create(ErrorInfoSchema, {
    reason: error.reason,
    domain: errorDomain,
    metadata: error.metadata,
  });
  return new ConnectError(
    error.message,
    codeOf[error.reason],
    undefined,
    [{ desc: ErrorInfoSchema, value: info }],
    error,
  );
}
