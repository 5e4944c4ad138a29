import { create } from "@bufbuild/protobuf";
import { durationFromMs, durationMs, timestampFromMs, timestampMs, type Value } from "@bufbuild/protobuf/wkt";
import {
  RunAttemptFailedSchema,
  RunClaimedSchema,
  RunFailedSchema,
  RunLeaseExpiredSchema,
  RunReleasedSchema,
  RunSucceededSchema,
} from "../../gen/signalbox/v1/run_event_pb.ts";
import {
  OnExhausted,
  PauseReason,
  type RetryPolicy,
  RunEndReason,
  type RunError,
} from "../../gen/signalbox/v1/run_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import type { EventType } from "../eventlog/event-type.ts";
import { equalBytes } from "../kernel/digest.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { deadlineExceeded, isPastDeadline, leaseEnd, runNotFound } from "./decider.ts";
import { paused, pausedAsRequested, pausedForBudget, pausedForKillSwitch } from "./pause-decider.ts";
import { leaseLost } from "./resource.ts";
import { type Lease, type LiveRun, type RunState, valueDigest } from "./state.ts";

/** A delivered job that a worker wants to turn into a lease. */
export interface Claim {
  readonly jobId: string;
  /** Where the run's stream was when the job was made. */
  readonly jobPosition: bigint;
  /** True when the broker had delivered the same job before and got no sign of life since. */
  readonly redelivered: boolean;
  readonly leaseId: string;
  readonly leaseTtlMs: number;
  readonly workerId: string;
}

/**
 * run.claimed, or run.failed when a deadline or the last attempt is over, or run.paused when the lapsed lease allows no
 * other. Nothing when the run is not to be had: ended, not due yet, queued anew since the job was made, or under a lease of
 * which nobody has shown that it lapsed.
 */
export function claimRun(state: RunState, claim: Claim, now: Date): Draft | undefined {
  switch (state.status) {
    case "absent":
    case "succeeded":
    case "failed":
    case "canceled":
    case "waiting":
    case "paused":
      return undefined;
    case "queued":
      if (isPastDeadline(state, now)) return deadlineExceeded(state);
      return isDue(state, now) && !isVoid(state, claim.jobPosition) ? claimed(state, claim) : undefined;
    case "running":
      if (!state.lease || !hasLapsed(state.lease, claim, now)) return undefined;
      if (isPastDeadline(state, now)) return deadlineExceeded(state);
      return givenUp(state, leaseLost) ?? claimed(state, claim);
  }
}

function isDue({ run }: LiveRun, now: Date): boolean {
  return run.availableTime === undefined || timestampMs(run.availableTime) <= now.getTime();
}

/** True when a job that was made at this position gives no claim to the run: it has waited, or was paused, since then. */
export function isVoid({ requeuePosition }: LiveRun, jobPosition: bigint): boolean {
  return jobPosition < requeuePosition;
}

/** The sign that a lease has lapsed: its own job came again, and not before the time that was granted. */
function hasLapsed(lease: Lease, claim: Claim, now: Date): boolean {
  return claim.redelivered && claim.jobId === lease.jobId && now.getTime() >= lease.expireTimeMs;
}

function claimed(state: LiveRun, claim: Claim): Draft {
  const value = create(RunClaimedSchema, {
    attempt: state.run.attempt + 1,
    leaseId: claim.leaseId,
    workerId: claim.workerId,
    jobId: claim.jobId,
    leaseTtl: durationFromMs(claim.leaseTtlMs),
    lost: leaseEnd(state),
  });
  return { payload: { case: "runClaimed", value }, zone: state.run.zone };
}

/** run.lease_expired, or run.failed or run.paused when no other attempt follows; nothing when the run has moved on from the lease. */
export function expireLease(state: RunState, leaseId: string): Draft | undefined {
  if (state.status !== "running" || state.lease?.leaseId !== leaseId) return undefined;
  const end = givenUp(state, leaseLost);
  if (end) return end;
  const value = create(RunLeaseExpiredSchema, { lease: leaseEnd(state) });
  return { payload: { case: "runLeaseExpired", value }, zone: state.run.zone };
}

/**
 * run.released, or run.paused when that was asked for, a kill switch holds something back, or the budget is used up; nothing
 * when this lease was released before. LEASE_LOST.
 */
export function releaseRun(
  state: RunState,
  lease: LeaseRef,
  reason: string,
  delayMs: number,
  now: Date,
): Draft | undefined {
  if (wasEndedBy(state, lease, "run.released", "run.paused")) return undefined;
  const live = requireLease(state, lease);
  const pausing = pausedAsRequested(live) ?? pausedForKillSwitch(live) ?? pausedForBudget(live, now);
  if (pausing) return pausing;
  const value = create(RunReleasedSchema, {
    lease: leaseEnd(live),
    reason,
    availableTime: timestampFromMs(now.getTime() + delayMs),
  });
  return { payload: { case: "runReleased", value }, zone: live.run.zone };
}

/** run.succeeded; nothing when this lease ended the run with the same output before. LEASE_LOST. */
export function completeRun(state: RunState, lease: LeaseRef, output: Value | undefined): Draft | undefined {
  if (wasEndedBy(state, lease, "run.succeeded") && equalBytes(valueDigest(state.run.output), valueDigest(output))) {
    return undefined;
  }
  const live = requireLease(state, lease);
  const value = create(RunSucceededSchema, { lease: leaseEnd(live), output });
  return { payload: { case: "runSucceeded", value }, zone: live.run.zone };
}

/**
 * run.attempt_failed when another attempt follows, else run.failed or run.paused; nothing when this lease ended with a
 * failure before. LEASE_LOST.
 */
export function failRun(state: RunState, lease: LeaseRef, error: RunError, now: Date): Draft | undefined {
  if (wasEndedBy(state, lease, "run.attempt_failed", "run.failed", "run.paused")) return undefined;
  const live = requireLease(state, lease);
  const policy = live.run.retryPolicy;
  if (!error.retryable || policy?.nonRetryableCodes.includes(error.code)) {
    const value = create(RunFailedSchema, { lease: leaseEnd(live), error, endReason: RunEndReason.HANDLER_FAILED });
    return { payload: { case: "runFailed", value }, zone: live.run.zone };
  }
  const end = givenUp(live, error);
  if (end) return end;
  const value = create(RunAttemptFailedSchema, {
    lease: leaseEnd(live),
    error,
    availableTime: timestampFromMs(now.getTime() + backoffMs(policy, live.run.failedAttempts + 1)),
  });
  return { payload: { case: "runAttemptFailed", value }, zone: live.run.zone };
}

/** The pause after the n-th failed attempt, in whole milliseconds. */
export function backoffMs(policy: RetryPolicy | undefined, failures: number): number {
  const initialMs = policy?.initialBackoff ? durationMs(policy.initialBackoff) : 0;
  const capMs = policy?.maxBackoff ? durationMs(policy.maxBackoff) : initialMs;
  return Math.round(Math.min(initialMs * (policy?.backoffMultiplier ?? 1) ** (failures - 1), capMs));
}

/** The draft of what becomes of a run after a failure that no other attempt follows for now; undefined when one does. */
function givenUp(state: LiveRun, error: RunError): Draft | undefined {
  const { failedAttempts, retryPolicy, zone } = state.run;
  if (failedAttempts + 1 < (retryPolicy?.maxAttempts ?? 1)) return pausedAsRequested(state, error);
  if (retryPolicy?.onExhausted === OnExhausted.PAUSE) {
    return paused(state, { reason: PauseReason.ATTEMPTS_EXHAUSTED, note: "no attempt is left", error });
  }
  const value = create(RunFailedSchema, { lease: leaseEnd(state), error, endReason: RunEndReason.ATTEMPTS_EXHAUSTED });
  return { payload: { case: "runFailed", value }, zone };
}

/** Which lease a command was given for. */
export interface LeaseRef {
  readonly runId: string;
  readonly leaseId: string;
}

/** The run under this very lease. LEASE_LOST when it has moved on: nothing may be written for the old one. */
export function requireLease(state: RunState, { runId, leaseId }: LeaseRef): LiveRun & { lease: Lease } {
  if (state.status === "absent") throw runNotFound(runId);
  if (isUnder(state, { runId, leaseId })) return state;
  throw new SignalboxError(
    "LEASE_LOST",
    `this lease of run ${runId} is over (the run is ${state.status}, attempt ${state.run.attempt}); stop working on it`,
    { status: state.status },
  );
}

/** True while the run is held under this very lease. */
export function isUnder(
  state: RunState,
  { leaseId }: LeaseRef,
): state is LiveRun & { status: "running"; lease: Lease } {
  return state.status === "running" && state.lease?.leaseId === leaseId;
}

/** True when this lease is the one that ended last, by an event of one of the types. */
export function wasEndedBy(
  state: RunState,
  { leaseId }: LeaseRef,
  ...types: EventType[]
): state is LiveRun & { status: "queued" } {
  if (state.status === "absent" || state.endedLease?.leaseId !== leaseId) return false;
  const { by } = state.endedLease;
  return types.some((type) => type === by);
}
