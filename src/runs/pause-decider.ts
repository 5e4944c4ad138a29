import { create, equals } from "@bufbuild/protobuf";
import type { Principal } from "../../gen/signalbox/v1/common_pb.ts";
import { RunPausedSchema, RunPauseRequestedSchema, RunResumedSchema } from "../../gen/signalbox/v1/run_event_pb.ts";
import { type Budget, BudgetSchema, PauseReason, type RunError } from "../../gen/signalbox/v1/run_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { requireBudget, usedUpLimit } from "./budget.ts";
import { hasEnded, leaseEnd, runNotFound } from "./decider.ts";
import type { LiveRun, RunState } from "./state.ts";

/**
 * run.paused, or run.pause_requested while a worker holds the run; nothing when it is paused or asked to already.
 * RUN_NOT_FOUND, INVALID_STATE when it has ended.
 */
export function pauseRun(
  state: RunState,
  runId: string,
  { note, by }: { note: string; by: Principal },
): Draft | undefined {
  switch (state.status) {
    case "absent":
      throw runNotFound(runId);
    case "succeeded":
    case "failed":
    case "canceled":
      throw hasEnded(state, "can not be paused");
    case "paused":
      return undefined;
    case "queued":
    case "waiting":
      return paused(state, { reason: PauseReason.OPERATOR, note, by });
    case "running": {
      if (state.run.pauseRequested) return undefined;
      const value = create(RunPauseRequestedSchema, { note });
      return { payload: { case: "runPauseRequested", value }, zone: state.run.zone };
    }
  }
}

/**
 * run.resumed for a run that is paused, or asked to pause, or that gets another budget; nothing for any other open run.
 * RUN_NOT_FOUND, INVALID_STATE when it has ended, or its budget is used up and no larger one is given.
 */
export function resumeRun(
  state: RunState,
  runId: string,
  { note, budget }: { note: string; budget: Budget | undefined },
  now: Date,
): Draft | undefined {
  switch (state.status) {
    case "absent":
      throw runNotFound(runId);
    case "succeeded":
    case "failed":
    case "canceled":
      throw hasEnded(state, "can not be resumed; RetryRun makes another one of a failed or canceled run");
    case "queued":
    case "running":
    case "waiting":
    case "paused": {
      const { run } = state;
      const changed = budget !== undefined && !(run.budget && equals(BudgetSchema, budget, run.budget));
      if (state.status !== "paused" && !run.pauseRequested && !changed) return undefined;
      requireRoomIn(state, budget, now);
      const value = create(RunResumedSchema, { note, budget: changed ? budget : undefined });
      return { payload: { case: "runResumed", value }, zone: run.zone };
    }
  }
}

/** run.paused for a running run that was asked to pause and whose lease ends now, by a failure if there is one; else nothing. */
export function pausedAsRequested(state: LiveRun, error?: RunError): Draft | undefined {
  const { pauseRequest } = state;
  return pauseRequest && paused(state, { reason: PauseReason.OPERATOR, ...pauseRequest, error });
}

/** run.paused for a run whose budget is used up and whose lease ends now; else nothing. */
export function pausedForBudget(state: LiveRun, now: Date): Draft | undefined {
  const limit = usedUpLimit(state.run, now);
  if (limit === undefined) return undefined;
  return paused(state, { reason: PauseReason.BUDGET, note: `the budget is used up: ${limit}` });
}

/** run.paused for a run of which a kill switch has stopped something under the lease that ends now; else nothing. */
export function pausedForKillSwitch(state: LiveRun): Draft | undefined {
  const [first, ...others] = state.lease?.stops.keys() ?? [];
  if (first === undefined) return undefined;
  const more = others.length === 0 ? "" : ` and ${others.length} more`;
  return paused(state, { reason: PauseReason.KILL_SWITCH, note: `a kill switch holds back ${first}${more}` });
}

/** run.paused; with an error when a failed attempt led to it. */
export function paused(
  state: LiveRun,
  why: { reason: PauseReason; note: string; by?: Principal | undefined; error?: RunError | undefined },
): Draft {
  const { reason, note, by, error } = why;
  const value = create(RunPausedSchema, { lease: leaseEnd(state), reason, note, error, pauseBy: by });
  return { payload: { case: "runPaused", value }, zone: state.run.zone };
}

/** PAUSE_REQUESTED when the run is to pause, BUDGET_EXCEEDED when its budget is used up: nothing more may start. */
export function requireMayStart({ run }: LiveRun, now: Date): void {
  if (run.pauseRequested) {
    throw new SignalboxError(
      "PAUSE_REQUESTED",
      `run ${run.runId} was asked to pause; end what is under way, start nothing more and call ReleaseRun`,
    );
  }
  requireBudget(run, now);
}

function requireRoomIn({ run }: LiveRun, budget: Budget | undefined, now: Date): void {
  const limit = usedUpLimit(run, now, budget);
  if (limit === undefined) return;
  throw new SignalboxError(
    "INVALID_STATE",
    `run ${run.runId} has used up its budget (${limit}); resume it with a larger one`,
    { status: "PAUSED", limit },
  );
}
