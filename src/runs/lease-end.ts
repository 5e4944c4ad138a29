import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { LeaseEnd } from "../../gen/signalbox/v1/run_event_pb.ts";
import { isRunPayload } from "../eventlog/event-type.ts";

/** The lease that an event ended, with what it left behind; undefined when it ended none. Pure. */
export function leaseEndOf({ payload }: Event): LeaseEnd | undefined {
  if (!isRunPayload(payload)) return undefined;
  switch (payload.case) {
    case "runClaimed":
      return payload.value.lost;
    case "runReleased":
    case "runAttemptFailed":
    case "runLeaseExpired":
    case "runSucceeded":
    case "runFailed":
    case "runCanceled":
    case "runSuspended":
    case "runPaused":
      return payload.value.lease;
    case "runCreated":
    case "stepStarted":
    case "stepCompleted":
    case "stepFailed":
    case "toolCallStarted":
    case "toolCallSucceeded":
    case "toolCallFailed":
    case "toolCallReconciled":
    case "toolCallGated":
    case "toolCallDenied":
    case "runWoken":
    case "runChildEnded":
    case "runMessageReceived":
    case "runApprovalDecided":
    case "runPauseRequested":
    case "runResumed":
    case "runArtifactAdded":
    case "stepReused":
    case "toolCallReused":
      return undefined;
  }
}
