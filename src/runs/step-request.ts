import { durationMs } from "@bufbuild/protobuf/wkt";
import type { StartStepRequest } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { StepKind, StepKindSchema } from "../../gen/signalbox/v1/run_pb.ts";
import { enumName } from "../kernel/enum-name.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { derivedId } from "../kernel/ids.ts";
import type { NewStep } from "./step-decider.ts";

/**
 * The step that a request describes, defaults filled in. INVALID_REQUEST when a sleep does not say how long it lasts, or the
 * request says what only a step of another kind has.
 */
export function newStep(workspaceId: string, stepId: string, request: StartStepRequest): NewStep {
  const { key, name, input, sequence, delay, wakeTime, childRunId, threadId } = request;
  const kind = request.kind || StepKind.FUNCTION;
  if (kind === StepKind.SLEEP && (delay === undefined) === (wakeTime === undefined)) {
    throw new SignalboxError("INVALID_REQUEST", "a step of STEP_KIND_SLEEP has either delay or wake_time");
  }
  requireKind(kind, StepKind.SLEEP, "delay and wake_time", delay !== undefined || wakeTime !== undefined);
  requireKind(kind, StepKind.RUN, "child_run_id", childRunId !== "");
  requireKind(kind, StepKind.MESSAGE, "thread_id", threadId !== "");
  return {
    stepId,
    key,
    name: name || key,
    input,
    kind,
    sequence,
    delayMs: delay && durationMs(delay),
    wakeTime,
    childRunId,
    threadId,
    approvalId: kind === StepKind.APPROVAL ? stepApprovalId(workspaceId, stepId, 1) : "",
  };
}

/** The n-th approval, from 1, that a step asks for: another one when the one before is void. */
export function stepApprovalId(workspaceId: string, stepId: string, n: number): string {
  return derivedId("appr", workspaceId, stepId, String(n));
}

function requireKind(kind: StepKind, wanted: StepKind, fields: string, given: boolean): void {
  if (!given || kind === wanted) return;
  throw new SignalboxError("INVALID_REQUEST", `${fields} belong to a step of ${enumName(StepKindSchema, wanted)} only`);
}
