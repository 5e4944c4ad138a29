import { create } from "@bufbuild/protobuf";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { StepReused, StepStarted } from "../../gen/signalbox/v1/run_event_pb.ts";
import { type Step, StepKind, StepSchema, StepStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { leaseEndOf } from "./lease-end.ts";
import { addUsage } from "./resource.ts";
import { killSwitchOn } from "./stops.ts";

/** The ids of the steps that an event changes. Pure. */
export function stepIdsOf(event: Event): readonly string[] {
  const { payload } = event;
  if (
    payload.case === "stepStarted" ||
    payload.case === "stepCompleted" ||
    payload.case === "stepFailed" ||
    payload.case === "stepReused"
  ) {
    return [payload.value.stepId];
  }
  return leaseEndOf(event)?.abandonedStepIds ?? [];
}

/** The step after an event that changes it; undefined until it was started. Pure. */
export function evolveStep(step: Step | undefined, event: Event): Step | undefined {
  const { payload } = event;
  if (payload.case === "stepStarted") return startedStep(step, event, payload.value);
  if (payload.case === "stepReused") return reusedStep(event, payload.value);
  if (step === undefined) return undefined;
  const ended = { ...step, endTime: event.createTime, position: event.position };
  if (payload.case === "stepCompleted") {
    const { output, outputArtifactId, usage } = payload.value;
    return { ...ended, status: StepStatus.COMPLETED, output, outputArtifactId, usage: addUsage(step.usage, usage) };
  }
  if (payload.case === "stepFailed") {
    const { error, usage } = payload.value;
    const isStopped = step.kind === StepKind.APPROVAL && error?.code === killSwitchOn;
    const stopPosition = isStopped ? event.position : step.stopPosition;
    return { ...ended, status: StepStatus.FAILED, error, usage: addUsage(step.usage, usage), stopPosition };
  }
  return { ...ended, status: StepStatus.ABANDONED };
}

function startedStep(step: Step | undefined, event: Event, started: StepStarted): Step {
  const { stepId, key, name, input, kind, sequence, wakeTime, childRunId, threadId, approvalId } = started;
  return create(StepSchema, {
    stepId,
    runId: event.stream?.id ?? "",
    key,
    name,
    status: StepStatus.RUNNING,
    attempt: (step?.attempt ?? 0) + 1,
    input: input ?? step?.input,
    usage: step?.usage,
    startTime: event.createTime,
    position: event.position,
    kind,
    sequence,
    startPosition: step?.startPosition ?? event.position,
    wakeTime,
    childRunId,
    threadId,
    approvalId,
    stopPosition: step?.stopPosition ?? 0n,
  });
}

function reusedStep(event: Event, reused: StepReused): Step {
  const { stepId, key, name, kind, sequence, output, outputArtifactId, runId } = reused;
  return create(StepSchema, {
    stepId,
    runId: event.stream?.id ?? "",
    key,
    name,
    status: StepStatus.COMPLETED,
    output,
    outputArtifactId,
    startTime: event.createTime,
    endTime: event.createTime,
    position: event.position,
    kind,
    sequence,
    startPosition: event.position,
    reusedFromRunId: runId,
  });
}
