import { create } from "@bufbuild/protobuf";
import { durationMs, timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type Usage, UsageSchema } from "../../gen/signalbox/v1/common_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import {
  type Run,
  RunEndReason,
  type RunError,
  RunErrorSchema,
  RunSchema,
  RunStatus,
} from "../../gen/signalbox/v1/run_pb.ts";

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

type RunCreated = Extract<Event["payload"], { case: "runCreated" }>["value"];

function createdRun(event: Event, created: RunCreated): Run {
  const maxMs = created.maxDuration && durationMs(created.maxDuration);
  const createDate = event.createTime && timestampDate(event.createTime);
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
    createTime: event.createTime,
    availableTime: event.createTime,
    deadlineTime:
      maxMs !== undefined && createDate ? timestampFromDate(new Date(createDate.getTime() + maxMs)) : undefined,
    usage: create(UsageSchema),
    threadId: created.threadId,
    sessionId: created.sessionId,
    parentRunId: created.parentRunId,
    createBy: event.actor,
    position: event.position,
  });
}

function applyPayload(run: Run, event: Event): Run {
  const { payload } = event;
  switch (payload.case) {
    case "runClaimed": {
      const ttlMs = payload.value.leaseTtl ? durationMs(payload.value.leaseTtl) : 0;
      const now = event.createTime && timestampDate(event.createTime);
      return {
        ...run,
        status: RunStatus.RUNNING,
        attempt: payload.value.attempt,
        failedAttempts: run.failedAttempts + (payload.value.lost ? 1 : 0),
        error: payload.value.lost ? leaseLost : run.error,
        startTime: run.startTime ?? event.createTime,
        availableTime: undefined,
        workerId: payload.value.workerId,
        leaseExpireTime: now && timestampFromDate(new Date(now.getTime() + ttlMs)),
      };
    }
    case "runReleased":
      return requeued(run, 0, payload.value.availableTime);
    case "runAttemptFailed":
      return { ...requeued(run, 1, payload.value.availableTime), error: payload.value.error };
    case "runLeaseExpired":
      return { ...requeued(run, 1, event.createTime), error: leaseLost };
    case "runSucceeded":
      return {
        ...ended(run, event, RunStatus.SUCCEEDED, RunEndReason.COMPLETED),
        output: payload.value.output,
        error: undefined,
      };
    case "runFailed":
      return {
        ...ended(run, event, RunStatus.FAILED, payload.value.endReason),
        failedAttempts: run.failedAttempts + (payload.value.lease ? 1 : 0),
        error: payload.value.error,
      };
    case "runCanceled":
      return ended(run, event, RunStatus.CANCELED, RunEndReason.CANCELED);
    case "stepCompleted":
    case "stepFailed":
    case "toolCallSucceeded":
    case "toolCallFailed":
      return { ...run, usage: addUsage(run.usage, payload.value.usage) };
    case "toolCallStarted":
      return { ...run, usage: { ...addUsage(run.usage, undefined), toolCalls: (run.usage?.toolCalls ?? 0n) + 1n } };
    case "stepStarted":
    case "toolCallReconciled":
    case "runCreated":
    case "agentCreated":
    case "agentUpdated":
    case "agentArchived":
    case "runSuspended":
    case "runWoken":
    case "runChildEnded":
    case "runMessageReceived":
    case "runPauseRequested":
    case "runPaused":
    case "runResumed":
    case "stepReused":
    case "toolCallReused":
    case "queueUpdated":
    case "scheduleCreated":
    case "scheduleUpdated":
    case "scheduleFired":
    case "scheduleArchived":
    case "sessionCompacted":
    case "documentAdded":
    case "documentDeleted":
    case undefined:
      return run;
  }
}

function requeued(run: Run, failures: number, availableTime: Run["availableTime"]): Run {
  return {
    ...run,
    status: RunStatus.QUEUED,
    failedAttempts: run.failedAttempts + failures,
    availableTime,
    leaseExpireTime: undefined,
    workerId: "",
  };
}

function ended(run: Run, event: Event, status: RunStatus, endReason: RunEndReason): Run {
  return {
    ...run,
    status,
    endReason,
    endTime: event.createTime,
    availableTime: undefined,
    leaseExpireTime: undefined,
    workerId: "",
  };
}

/** The total with more of everything but tool calls, which only the server counts. */
export function addUsage(total: Usage | undefined, more: Usage | undefined): Usage {
  return create(UsageSchema, {
    inputTokens: sum(total?.inputTokens, more?.inputTokens),
    outputTokens: sum(total?.outputTokens, more?.outputTokens),
    costMicros: sum(total?.costMicros, more?.costMicros),
    toolCalls: total?.toolCalls ?? 0n,
  });
}

/** The sum, or the largest uint64: a total that can not be encoded would stop everything that reads the log. */
function sum(a = 0n, b = 0n): bigint {
  return a + b < maxUint64 ? a + b : maxUint64;
}

const maxUint64 = 2n ** 64n - 1n;
