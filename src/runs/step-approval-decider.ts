import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { type ApprovalTerms, ApprovalTermsSchema } from "../../gen/signalbox/v1/policy_pb.ts";
import { StepFailedSchema, StepStartedSchema } from "../../gen/signalbox/v1/run_event_pb.ts";
import { RunErrorSchema, type Step, StepKind, StepStatus } from "../../gen/signalbox/v1/run_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { type LeaseRef, requireLease } from "./lease-decider.ts";
import type { LiveRun, RunState } from "./state.ts";
import { killSwitchOn } from "./stops.ts";

/**
 * The step of STEP_KIND_APPROVAL that runs, or is done. STEP_NOT_FOUND, INVALID_STATE for every other one, KILL_SWITCH_ON for
 * one that a kill switch has stopped.
 */
export function requireApprovalStep({ steps }: LiveRun, stepId: string): Step {
  const step = steps.get(stepId)?.step;
  if (step === undefined) throw new SignalboxError("STEP_NOT_FOUND", "the run has no such step; start it first");
  if (step.kind !== StepKind.APPROVAL) {
    throw new SignalboxError("INVALID_STATE", `step ${stepId} can not ask; start a step of STEP_KIND_APPROVAL`);
  }
  if (step.status === StepStatus.RUNNING || step.status === StepStatus.COMPLETED) return step;
  if (step.status === StepStatus.FAILED && step.error?.code === killSwitchOn) throw stepStopped(step);
  throw new SignalboxError("INVALID_STATE", `step ${stepId} does not run; start it again first`);
}

/** step.started with the approval that the running step asks for now; nothing when it asks for it already. LEASE_LOST. */
export function askInStep(state: RunState, lease: LeaseRef, stepId: string, approvalId: string): Draft | undefined {
  const { run, steps } = requireLease(state, lease);
  const step = steps.get(stepId)?.step;
  if (step?.status !== StepStatus.RUNNING || step.approvalId === approvalId) return undefined;
  const { key, name, kind, sequence } = step;
  const value = create(StepStartedSchema, { leaseId: lease.leaseId, stepId, key, name, kind, sequence, approvalId });
  return { payload: { case: "stepStarted", value }, zone: run.zone };
}

/** step.failed for a running step that a kill switch stops, so that the run is paused once it is given back. LEASE_LOST. */
export function stopStep(state: RunState, lease: LeaseRef, stepId: string): Draft | undefined {
  const { run, steps } = requireLease(state, lease);
  if (steps.get(stepId)?.step.status !== StepStatus.RUNNING) return undefined;
  const error = create(RunErrorSchema, { code: killSwitchOn, message: "external writes are stopped", retryable: true });
  const value = create(StepFailedSchema, { leaseId: lease.leaseId, stepId, error });
  return { payload: { case: "stepFailed", value }, zone: run.zone };
}

/** KILL_SWITCH_ON for a step that has been stopped. */
export function stepStopped({ stepId, position }: Step): SignalboxError {
  return new SignalboxError(
    "KILL_SWITCH_ON",
    `external writes are stopped; step ${stepId} is held back, give the run back with ReleaseRun`,
    { step_id: stepId, position: String(position) },
  );
}

/** What the policy asks for and, where it does not ask for more, what the step does. Pure. */
export function stricterTerms(policy: ApprovalTerms | undefined, step: ApprovalTerms | undefined): ApprovalTerms {
  const ttls = [policy?.ttl, step?.ttl].filter((ttl) => ttl !== undefined);
  const ttl = ttls.toSorted((a, b) => durationMs(a) - durationMs(b))[0];
  const deciders = policy?.deciders.length ? policy.deciders : (step?.deciders ?? []);
  // Whoever is named to decide is not joined by others of whom the policy does not know.
  const escalation = policy?.escalateAfter || policy?.deciders.length ? policy : step;
  return create(ApprovalTermsSchema, {
    requiredCount: Math.max(policy?.requiredCount ?? 0, step?.requiredCount ?? 0),
    deciders,
    escalateTo: escalation?.escalateTo ?? [],
    ...(ttl && { ttl }),
    ...(escalation?.escalateAfter && { escalateAfter: escalation.escalateAfter }),
  });
}
