import { create } from "@bufbuild/protobuf";
import { durationFromMs, durationMs, type Timestamp, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { type ArtifactSummary, ArtifactPurpose, ArtifactSummarySchema } from "../../gen/signalbox/v1/artifact_pb.ts";
import { type Usage, UsageSchema } from "../../gen/signalbox/v1/common_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { RunArtifactAdded, RunClaimed, RunCreated, RunPaused } from "../../gen/signalbox/v1/run_event_pb.ts";
import {
  PauseSchema,
  type Run,
  RunEndReason,
  type RunError,
  RunErrorSchema,
  RunSchema,
  RunStatus,
  type WaitingOn,
  WaitingOnSchema,
  type WakeCondition,
} from "../../gen/signalbox/v1/run_pb.ts";
import { isRunPayload } from "../eventlog/event-type.ts";
import { activeMs } from "./budget.ts";
import { afterChildEnd, awaitedApprovals, endsWait } from "./waiting.ts";

/** The failure of an attempt whose worker fell silent. */
export const leaseLost: RunError = create(RunErrorSchema, {
  code: "LEASE_LOST",
  message: "the worker stopped sending heartbeats",
  retryable: true,
});

/** The run after an event of its stream; undefined until it is created. Pure. */
export function evolveRun(run: Run | undefined, event: Event): Run | undefined {
  const { payload } = event;
  if (payload.case === "runCreated") return createdRun(event, payload.value);
  if (run === undefined) return undefined;
  const changed = applyPayload(run, event);
  return { ...changed, position: event.position };
}

function createdRun(event: Event, created: RunCreated): Run {
  const { createTime } = event;
  const deadlineMs = created.maxDuration && createTime && timestampMs(createTime) + durationMs(created.maxDuration);
  return create(RunSchema, {
    runId: event.stream?.id ?? "",
    workspaceId: event.workspaceId,
    roomId: event.roomId,
    agentId: created.agentId,
    handler: created.handler,
    queue: created.queue,
    status: RunStatus.QUEUED,
    input: created.input,
    labels: created.labels,
    zone: event.zone,
    retryPolicy: created.retryPolicy,
    createTime,
    availableTime: createTime,
    deadlineTime: deadlineMs === undefined ? undefined : timestampFromMs(deadlineMs),
    usage: create(UsageSchema),
    threadId: created.threadId,
    sessionId: created.sessionId,
    parentRunId: created.parentRunId,
    createBy: event.actor,
    position: event.position,
    priority: created.priority,
    concurrencyKey: created.concurrencyKey,
    budget: created.budget,
    depth: created.depth,
    baseRunId: created.baseRunId,
    basePosition: created.basePosition,
    messageId: created.messageId,
  });
}

function applyPayload(run: Run, event: Event): Run {
  const { payload } = event;
  if (!isRunPayload(payload)) return run;
  switch (payload.case) {
    case "runClaimed":
      return claimed(run, event, payload.value);
    case "runReleased":
      return queued(run, event, payload.value.availableTime);
    case "runAttemptFailed":
      return failedOnce(queued(run, event, payload.value.availableTime), payload.value.error);
    case "runLeaseExpired":
      return failedOnce(queued(run, event), leaseLost);
    case "runSucceeded":
      return { ...ended(run, event, RunEndReason.COMPLETED), output: payload.value.output, error: undefined };
    case "runFailed": {
      const { endReason, lease, error } = payload.value;
      const failed = ended(run, event, endReason);
      return lease ? failedOnce(failed, error) : { ...failed, error };
    }
    case "runCanceled":
      return ended(run, event, RunEndReason.CANCELED);
    case "runSuspended":
      return { ...unleased(run, event), status: RunStatus.WAITING, waitingOn: waitingOn(payload.value.conditions) };
    case "runWoken":
      return queued(run, event);
    case "runChildEnded":
      return afterChild(run, event, payload.value.childRunId);
    case "runMessageReceived": {
      const { threadId, number } = payload.value;
      return run.waitingOn && endsWait(run.waitingOn, threadId, number) ? queued(run, event) : run;
    }
    case "runPauseRequested":
      return { ...run, pauseRequested: true };
    case "runPaused":
      return paused(run, event, payload.value);
    case "runResumed":
      return resumed(run, event, payload.value.budget);
    case "stepCompleted":
    case "stepFailed":
    case "toolCallSucceeded":
    case "toolCallFailed":
      return { ...run, usage: addUsage(run.usage, payload.value.usage) };
    case "stepStarted":
      return { ...run, usage: addUsage(run.usage, undefined, { steps: 1n }) };
    case "toolCallStarted":
      return { ...run, usage: addUsage(run.usage, undefined, { toolCalls: 1n }) };
    case "runApprovalDecided":
      return run.waitingOn && awaitedApprovals(run.waitingOn).includes(payload.value.approvalId)
        ? queued(run, event)
        : run;
    case "runArtifactAdded":
      return { ...run, artifactSummary: withArtifact(run.artifactSummary, payload.value) };
    case "toolCallReconciled":
    case "stepReused":
    case "toolCallReused":
    case "toolCallGated":
    case "toolCallDenied":
    case "runCreated":
      return run;
  }
}

function claimed(run: Run, event: Event, { attempt, workerId, leaseTtl, lost }: RunClaimed): Run {
  const before = lost ? failedOnce(unleased(run, event), leaseLost) : run;
  const nowMs = event.createTime && timestampMs(event.createTime);
  return {
    ...before,
    status: RunStatus.RUNNING,
    attempt,
    startTime: run.startTime ?? event.createTime,
    claimTime: event.createTime,
    availableTime: undefined,
    workerId,
    leaseExpireTime: nowMs === undefined ? undefined : timestampFromMs(nowMs + (leaseTtl ? durationMs(leaseTtl) : 0)),
  };
}

/** Waits for a worker, from the event on unless it says otherwise. */
function queued(run: Run, event: Event, availableTime: Timestamp | undefined = event.createTime): Run {
  return { ...unleased(run, event), status: RunStatus.QUEUED, availableTime };
}

function paused(run: Run, event: Event, { error, reason, note, pauseBy }: RunPaused): Run {
  const standing: Run = {
    ...unleased(run, event),
    status: RunStatus.PAUSED,
    pause: create(PauseSchema, { reason, note, pauseBy, pauseTime: event.createTime }),
  };
  return error ? failedOnce(standing, error) : standing;
}

function resumed(run: Run, event: Event, budget: Run["budget"]): Run {
  const next: Run = { ...run, budget: budget ?? run.budget, pauseRequested: false };
  return run.status === RunStatus.PAUSED ? { ...queued(next, event), failedAttempts: 0 } : next;
}

function afterChild(run: Run, event: Event, childRunId: string): Run {
  if (run.waitingOn === undefined) return run;
  const left = afterChildEnd(run.waitingOn, childRunId);
  return left === undefined ? queued(run, event) : { ...run, waitingOn: left };
}

function ended(run: Run, event: Event, endReason: RunEndReason): Run {
  return { ...unleased(run, event), status: terminalStatus(endReason), endReason, endTime: event.createTime };
}

function terminalStatus(endReason: RunEndReason): RunStatus {
  if (endReason === RunEndReason.COMPLETED) return RunStatus.SUCCEEDED;
  return endReason === RunEndReason.CANCELED ? RunStatus.CANCELED : RunStatus.FAILED;
}

function failedOnce(run: Run, error: Run["error"]): Run {
  return { ...run, failedAttempts: run.failedAttempts + 1, error };
}

/** The run without what only one status has; the time that the lease was held is added up. */
function unleased(run: Run, event: Event): Run {
  return {
    ...run,
    activeTime: run.claimTime ? durationFromMs(activeMs(run, event.createTime)) : run.activeTime,
    claimTime: undefined,
    availableTime: undefined,
    leaseExpireTime: undefined,
    workerId: "",
    pauseRequested: false,
    waitingOn: undefined,
    pause: undefined,
  };
}

/** Outputs of steps are no results of their own. */
function withArtifact(summary: ArtifactSummary | undefined, { artifact }: RunArtifactAdded): Run["artifactSummary"] {
  if (artifact === undefined || artifact.purpose === ArtifactPurpose.STEP_OUTPUT) return summary;
  return create(ArtifactSummarySchema, {
    count: (summary?.count ?? 0) + 1,
    totalSizeBytes: sum(summary?.totalSizeBytes, artifact.sizeBytes),
  });
}

function waitingOn(conditions: WakeCondition[]): WaitingOn {
  return create(WaitingOnSchema, { conditions });
}

/** The total with more of everything. What only the server counts is given apart: nobody else's word counts for it. */
export function addUsage(
  total: Usage | undefined,
  more: Usage | undefined,
  counted: { steps?: bigint; toolCalls?: bigint } = {},
): Usage {
  return create(UsageSchema, {
    inputTokens: sum(total?.inputTokens, more?.inputTokens),
    outputTokens: sum(total?.outputTokens, more?.outputTokens),
    costMicros: sum(total?.costMicros, more?.costMicros),
    toolCalls: sum(total?.toolCalls, counted.toolCalls),
    steps: sum(total?.steps, counted.steps),
  });
}

/** The sum, or the largest uint64: a total that can not be encoded would stop everything that reads the log. */
function sum(a = 0n, b = 0n): bigint {
  return a + b < maxUint64 ? a + b : maxUint64;
}

const maxUint64 = 2n ** 64n - 1n;
