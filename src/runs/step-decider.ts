import { create } from "@bufbuild/protobuf";
import { type Timestamp, timestampFromMs, type Value } from "@bufbuild/protobuf/wkt";
import { ArtifactPurpose } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { Usage } from "../../gen/signalbox/v1/common_pb.ts";
import {
  StepCompletedSchema,
  StepFailedSchema,
  StepReusedSchema,
  StepStartedSchema,
} from "../../gen/signalbox/v1/run_event_pb.ts";
import { type RunError, type StepKind, StepStatus, StepStatusSchema } from "../../gen/signalbox/v1/run_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { equalBytes } from "../kernel/digest.ts";
import { enumName } from "../kernel/enum-name.ts";
import { SignalboxError } from "../kernel/errors.ts";
import type { PersistentMap } from "../kernel/persistent-map.ts";
import { type LeaseRef, requireLease } from "./lease-decider.ts";
import { requireMayStart } from "./pause-decider.ts";
import { type LiveRun, type RunState, type StepHead, valueDigest } from "./state.ts";

/** Steps of one run at most; tool calls likewise. */
export const maxStepsPerRun = 10_000;

/** Steps, and tool calls, that may be under way at once: the end of a lease names each of them in one event. */
export const maxOpenPerRun = 1_000;

/** A step about to start. */
export interface NewStep {
  readonly stepId: string;
  readonly key: string;
  readonly name: string;
  readonly input: Value | undefined;
  readonly kind: StepKind;
  /** Its place as the code asks for steps and tool calls, from 1; 0 when the worker does not count. */
  readonly sequence: number;
  /** How long a sleep lasts from its first start; undefined for other kinds, and for one that ends at `wakeTime`. */
  readonly delayMs?: number | undefined;
  readonly wakeTime?: Timestamp | undefined;
  /** Empty unless the step waits for a child. */
  readonly childRunId?: string;
  /** Empty unless the step waits for a message of this thread. */
  readonly threadId?: string;
  /** The approval that the step is to ask for; empty for other kinds. */
  readonly approvalId?: string;
}

/** A step as the base run has it on record. */
export interface RecordedStep {
  /** The run that did it. */
  readonly runId: string;
  readonly output: Value | undefined;
  /** The artifact that has the output in its place; default empty for none. */
  readonly outputArtifactId?: string;
}

/** How a step has ended well. */
export interface StepResult {
  readonly stepId: string;
  readonly output: Value | undefined;
  /** The artifact that has the output in its place; default empty for none. */
  readonly outputArtifactId?: string;
  readonly usage: Usage | undefined;
}

/**
 * step.started, or step.reused when the base run has the step on record; nothing when it runs or is completed already.
 * LEASE_LOST, QUOTA_EXCEEDED, BUDGET_EXCEEDED, PAUSE_REQUESTED.
 */
export function startStep(
  state: RunState,
  lease: LeaseRef,
  step: NewStep,
  now: Date,
  recorded?: RecordedStep,
): Draft | undefined {
  const live = requireLease(state, lease);
  const before = live.steps.get(step.stepId)?.step;
  if (before?.status === StepStatus.COMPLETED) return undefined;
  // A step may start before its child is created, to see whether the base run has its result; then it gets the child.
  if (before?.status === StepStatus.RUNNING && (before.childRunId !== "" || !step.childRunId)) return undefined;
  if (before === undefined) requireQuota("steps", live.steps.size);
  requireMayStart(live, now);
  const { leaseId } = lease;
  if (before === undefined && recorded !== undefined) {
    const { stepId, key, name, kind, sequence } = step;
    const value = create(StepReusedSchema, { leaseId, stepId, key, name, kind, sequence, ...recorded });
    return { payload: { case: "stepReused", value }, zone: live.run.zone };
  }
  requireRoom(live.steps, ({ step: { status: each } }) => each === StepStatus.RUNNING);
  const { delayMs, ...started } = step;
  const wakeTime = step.wakeTime ?? (delayMs === undefined ? undefined : timestampFromMs(now.getTime() + delayMs));
  // A sleep and a question go on where they were: only the first start says when it is over, and what is asked.
  const approvalId = before?.approvalId || step.approvalId || "";
  const value = create(StepStartedSchema, { ...started, leaseId, wakeTime: before?.wakeTime ?? wakeTime, approvalId });
  return { payload: { case: "stepStarted", value }, zone: live.run.zone };
}

/**
 * step.completed; nothing when it is completed with the same output. LEASE_LOST, STEP_NOT_FOUND, INVALID_STATE, INVALID_REQUEST and
 * ARTIFACT_NOT_FOUND when its output is said to be what it can not be.
 */
export function completeStep(state: RunState, lease: LeaseRef, result: StepResult): Draft | undefined {
  const { stepId, output, outputArtifactId = "" } = result;
  const live = requireLease(state, lease);
  const head = requireStep(live, stepId);
  if (isCompletedWith(head, result)) return undefined;
  requireRunning(head);
  if (outputArtifactId !== "") requireStepOutput(live, outputArtifactId, output);
  const value = create(StepCompletedSchema, { leaseId: lease.leaseId, ...result });
  return { payload: { case: "stepCompleted", value }, zone: live.run.zone };
}

/** step.failed; nothing when it has failed already. LEASE_LOST, STEP_NOT_FOUND, INVALID_STATE. */
export function failStep(
  state: RunState,
  lease: LeaseRef,
  { stepId, error, usage }: { stepId: string; error: RunError | undefined; usage: Usage | undefined },
): Draft | undefined {
  const live = requireLease(state, lease);
  const head = requireStep(live, stepId);
  if (head.step.status === StepStatus.FAILED) return undefined;
  requireRunning(head);
  const value = create(StepFailedSchema, { leaseId: lease.leaseId, stepId, error, usage });
  return { payload: { case: "stepFailed", value }, zone: live.run.zone };
}

/** QUOTA_EXCEEDED when this many steps, or tool calls, are as many as a run may have. */
export function requireQuota(what: string, count: number): void {
  if (count < maxStepsPerRun) return;
  throw new SignalboxError("QUOTA_EXCEEDED", `a run can have ${maxStepsPerRun} ${what}; start a child run instead`, {
    limit: String(maxStepsPerRun),
  });
}

/** QUOTA_EXCEEDED when as many of a run's steps or tool calls are under way as may be. */
export function requireRoom<T extends object>(all: PersistentMap<T>, isOpen: (each: T) => boolean): void {
  // Most runs have fewer in all: nobody has to look at each of them at every start.
  if (all.size < maxOpenPerRun || [...all.values()].filter(isOpen).length < maxOpenPerRun) return;
  throw new SignalboxError("QUOTA_EXCEEDED", `${maxOpenPerRun} are under way in this run already; end some first`, {
    limit: String(maxOpenPerRun),
  });
}

function isCompletedWith({ step, outputDigest }: StepHead, { output, outputArtifactId = "" }: StepResult): boolean {
  if (outputDigest === undefined || step.outputArtifactId !== outputArtifactId) return false;
  return equalBytes(outputDigest, valueDigest(output));
}

function requireStepOutput({ run, artifacts }: LiveRun, artifactId: string, output: Value | undefined): void {
  if (output !== undefined) {
    throw new SignalboxError("INVALID_REQUEST", "a step has either output or output_artifact_id, not both");
  }
  const head = artifacts.byId.get(artifactId);
  if (head === undefined) {
    throw new SignalboxError("ARTIFACT_NOT_FOUND", `run ${run.runId} has no artifact ${artifactId}; store it first`);
  }
  if (head.purpose === ArtifactPurpose.STEP_OUTPUT) return;
  throw new SignalboxError(
    "INVALID_REQUEST",
    `artifact ${artifactId} is no output of a step; store it with ARTIFACT_PURPOSE_STEP_OUTPUT`,
  );
}

function requireStep({ run, steps }: LiveRun, stepId: string): StepHead {
  const head = steps.get(stepId);
  if (head === undefined) {
    throw new SignalboxError("STEP_NOT_FOUND", `run ${run.runId} has no step ${stepId}; start it first`);
  }
  return head;
}

function requireRunning({ step }: StepHead): void {
  if (step.status === StepStatus.RUNNING) return;
  const status = enumName(StepStatusSchema, step.status);
  throw new SignalboxError("INVALID_STATE", `step ${step.stepId} is ${status}; only a running step can end`, {
    status,
  });
}
