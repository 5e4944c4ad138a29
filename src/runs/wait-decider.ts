import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { ApprovalStatus } from "../../gen/signalbox/v1/approval_pb.ts";
import {
  RunApprovalDecidedSchema,
  RunChildEndedSchema,
  RunSuspendedSchema,
  RunWokenSchema,
} from "../../gen/signalbox/v1/run_event_pb.ts";
import { type RunStatus, type WakeCondition, WakeConditionSchema } from "../../gen/signalbox/v1/run_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { isOpen, leaseEnd } from "./decider.ts";
import { type LeaseRef, requireLease, wasEndedBy } from "./lease-decider.ts";
import { pausedAsRequested } from "./pause-decider.ts";
import type { LiveRun, RunState } from "./state.ts";
import { wakeTimeOf } from "./waiting.ts";

/** Children that one suspension may wait for, all conditions together: its event names each of them. */
export const maxAwaitedChildren = 10_000;

/**
 * run.suspended, or run.paused when that was asked for; nothing when this lease ended so before, or when a condition holds
 * already (see `holdingConditions`). LEASE_LOST, QUOTA_EXCEEDED, INVALID_STATE for a child that no step started and for an
 * approval that the run has not asked for.
 */
export function suspendRun(
  state: RunState,
  lease: LeaseRef,
  conditions: readonly WakeCondition[],
  now: Date,
): Draft | undefined {
  if (isSuspended(state, lease)) return undefined;
  const live = requireLease(state, lease);
  requireOwnChildren(live, conditions);
  requireOwnApprovals(live, conditions);
  const pausing = pausedAsRequested(live);
  if (pausing) return pausing;
  if (holdingConditions(live, conditions, now).length > 0) return undefined;
  const value = create(RunSuspendedSchema, {
    lease: leaseEnd(live),
    conditions: conditions.map((condition) => withoutEnded(live, condition)),
  });
  return { payload: { case: "runSuspended", value }, zone: live.run.zone };
}

/** True when the lease was given back to wait, or to pause instead. */
export function isSuspended(state: RunState, lease: LeaseRef): boolean {
  return wasEndedBy(state, lease, "run.suspended", "run.paused");
}

/** The places, from 0, of the conditions that hold already. */
export function holdingConditions(live: LiveRun, conditions: readonly WakeCondition[], now: Date): number[] {
  return conditions.flatMap((condition, index) => (holds(live, condition, now) ? [index] : []));
}

/** run.woken when the run waits for a time that has come; else nothing. */
export function wakeRun(state: RunState, now: Date): Draft | undefined {
  if (state.status !== "waiting") return undefined;
  const wakeTime = wakeTimeOf(state.run.waitingOn);
  if (wakeTime === undefined || timestampMs(wakeTime) > now.getTime()) return undefined;
  return { payload: { case: "runWoken", value: create(RunWokenSchema) }, zone: state.run.zone };
}

/** run.child_ended, whatever the open run does just now; nothing when that is on record, or the run is not there or has ended. */
export function endChild(state: RunState, childRunId: string, status: RunStatus): Draft | undefined {
  if (!isOpen(state) || state.endedChildren.has(childRunId)) return undefined;
  const value = create(RunChildEndedSchema, { childRunId, status });
  return { payload: { case: "runChildEnded", value }, zone: state.run.zone };
}

/**
 * run.approval_decided, whatever the open run does just now; nothing when that is on record, the run has not asked for the
 * approval, or it is not there or has ended. `status` is APPROVED, DENIED, EXPIRED or CANCELED.
 */
export function endApproval(state: RunState, approvalId: string, status: ApprovalStatus): Draft | undefined {
  if (!isOpen(state) || state.approvals.get(approvalId) !== ApprovalStatus.PENDING) return undefined;
  const value = create(RunApprovalDecidedSchema, { approvalId, status });
  return { payload: { case: "runApprovalDecided", value }, zone: state.run.zone };
}

function holds({ endedChildren, messages, approvals }: LiveRun, { condition }: WakeCondition, now: Date): boolean {
  switch (condition.case) {
    case "time":
      return timestampMs(condition.value) <= now.getTime();
    case "children":
      return condition.value.runIds.every((id) => endedChildren.has(id));
    case "message":
      return (messages.countOfThread.get(condition.value.threadId) ?? 0) > condition.value.afterNumber;
    case "approval":
      return approvals.get(condition.value.approvalId) !== ApprovalStatus.PENDING;
    case undefined:
      return false;
  }
}

function withoutEnded({ endedChildren }: LiveRun, wake: WakeCondition): WakeCondition {
  const { condition } = wake;
  if (condition.case !== "children") return wake;
  const runIds = condition.value.runIds.filter((id) => !endedChildren.has(id));
  return create(WakeConditionSchema, { condition: { case: "children", value: { runIds } } });
}

function requireOwnChildren({ run, steps }: LiveRun, conditions: readonly WakeCondition[]): void {
  const wanted = conditions.flatMap(({ condition }) => (condition.case === "children" ? condition.value.runIds : []));
  if (wanted.length === 0) return;
  if (wanted.length > maxAwaitedChildren) {
    throw new SignalboxError("QUOTA_EXCEEDED", `a run can wait for ${maxAwaitedChildren} children at a time`, {
      limit: String(maxAwaitedChildren),
    });
  }
  const own = new Set([...steps.values()].map(({ step }) => step.childRunId));
  const stranger = wanted.find((id) => !own.has(id));
  if (stranger === undefined) return;
  throw new SignalboxError(
    "INVALID_STATE",
    `no step of run ${run.runId} has started ${stranger}; start a step of STEP_KIND_RUN with its child_run_id first`,
    { status: "RUNNING" },
  );
}

function requireOwnApprovals({ run, approvals }: LiveRun, conditions: readonly WakeCondition[]): void {
  for (const { condition } of conditions) {
    if (condition.case !== "approval" || approvals.has(condition.value.approvalId)) continue;
    throw new SignalboxError(
      "INVALID_STATE",
      `run ${run.runId} has not asked for ${condition.value.approvalId}; wait for what StartToolCall or RequestApproval names`,
      { status: "RUNNING" },
    );
  }
}
