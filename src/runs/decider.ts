import { create } from "@bufbuild/protobuf";
import { type Duration, timestampMs } from "@bufbuild/protobuf/wkt";
import type { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import {
  LeaseEndSchema,
  type LeaseEnd,
  RunCanceledSchema,
  RunCreatedSchema,
  RunFailedSchema,
} from "../../gen/signalbox/v1/run_event_pb.ts";
import {
  type Budget,
  type RetryPolicy,
  RunEndReason,
  RunErrorSchema,
  StepStatus,
  ToolCallStatus,
} from "../../gen/signalbox/v1/run_pb.ts";
import type { CreateRunRequest } from "../../gen/signalbox/v1/run_service_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { equalBytes } from "../kernel/digest.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { repeatable } from "./tool-call.ts";
import type { LiveRun, OpenStatus, RunState } from "./state.ts";

/** A creating request with every default filled in. */
export interface NewRun {
  readonly runId: string;
  readonly request: CreateRunRequest;
  readonly handler: string;
  readonly zone: Zone;
  readonly retryPolicy: RetryPolicy;
  readonly maxDuration: Duration | undefined;
  /** How much the run may consume; undefined for no limit. */
  readonly budget: Budget | undefined;
  /** How many runs stand above this one: 0 without a parent. */
  readonly depth: number;
  /** The run whose record is reused, and up to where; undefined for none. */
  readonly base: { readonly runId: string; readonly position: bigint } | undefined;
  /** SHA-256 of the request; empty without request_id. */
  readonly requestDigest: Uint8Array;
}

/** run.created; nothing when the same request created it before. REQUEST_ID_REUSED when another one did. */
export function createRun(state: RunState, run: NewRun): Draft | undefined {
  if (state.status !== "absent") {
    if (equalBytes(state.requestDigest, run.requestDigest)) return undefined;
    throw new SignalboxError(
      "REQUEST_ID_REUSED",
      `request_id ${JSON.stringify(run.request.requestId)} has created ${run.runId} with another body; use a new request_id`,
      { run_id: run.runId },
    );
  }
  const { agentId, queue, input, labels, threadId, sessionId, parentRunId, priority, concurrencyKey, messageId } =
    run.request;
  const value = create(RunCreatedSchema, {
    agentId,
    handler: run.handler,
    queue: queue === "" ? "default" : queue,
    input,
    labels,
    retryPolicy: run.retryPolicy,
    maxDuration: run.maxDuration,
    threadId,
    sessionId,
    parentRunId,
    requestDigest: run.requestDigest,
    priority,
    concurrencyKey,
    budget: run.budget,
    depth: run.depth,
    baseRunId: run.base?.runId ?? "",
    basePosition: run.base?.position ?? 0n,
    messageId,
  });
  return { payload: { case: "runCreated", value }, zone: run.zone };
}

/** run.canceled; nothing when it is canceled already. RUN_NOT_FOUND, INVALID_STATE when it has ended otherwise. */
export function cancelRun(state: RunState, runId: string, reason: string): Draft | undefined {
  switch (state.status) {
    case "absent":
      throw runNotFound(runId);
    case "canceled":
      return undefined;
    case "succeeded":
    case "failed":
      throw hasEnded(state, "can not be canceled");
    case "queued":
    case "running":
    case "waiting":
    case "paused": {
      const value = create(RunCanceledSchema, { lease: leaseEnd(state), reason });
      return { payload: { case: "runCanceled", value }, zone: state.run.zone };
    }
  }
}

/** run.failed when the deadline has passed; nothing before that or when the run has ended. */
export function expireRun(state: RunState, now: Date): Draft | undefined {
  if (!isOpen(state) || !isPastDeadline(state, now)) return undefined;
  return deadlineExceeded(state);
}

/** True while the run can still change. */
export function isOpen(state: RunState): state is LiveRun & { status: OpenStatus } {
  switch (state.status) {
    case "queued":
    case "running":
    case "waiting":
    case "paused":
      return true;
    case "absent":
    case "succeeded":
    case "failed":
    case "canceled":
      return false;
  }
}

/** True when the run has a deadline and it has passed. */
export function isPastDeadline({ run }: LiveRun, now: Date): boolean {
  return run.deadlineTime !== undefined && timestampMs(run.deadlineTime) <= now.getTime();
}

/** run.failed with RUN_END_REASON_DEADLINE_EXCEEDED. */
export function deadlineExceeded(state: LiveRun): Draft {
  const error = create(RunErrorSchema, {
    code: "DEADLINE_EXCEEDED",
    message: "the run did not end within its max_duration",
  });
  const value = create(RunFailedSchema, { lease: leaseEnd(state), error, endReason: RunEndReason.DEADLINE_EXCEEDED });
  return { payload: { case: "runFailed", value }, zone: state.run.zone };
}

/** How the present lease ends: what was under way is abandoned, may be repeated, or is unknown. Undefined without a lease. */
export function leaseEnd({ lease, steps, toolCalls }: LiveRun): LeaseEnd | undefined {
  if (lease === undefined) return undefined;
  const started = [...toolCalls.values()]
    .map(({ toolCall }) => toolCall)
    .filter(({ status }) => status === ToolCallStatus.STARTED);
  return create(LeaseEndSchema, {
    leaseId: lease.leaseId,
    abandonedStepIds: [...steps.values()]
      .filter(({ step }) => step.status === StepStatus.RUNNING)
      .map(({ step }) => step.stepId),
    failedToolCallIds: started.filter(repeatable).map(({ toolCallId }) => toolCallId),
    unknownToolCallIds: started.filter((call) => !repeatable(call)).map(({ toolCallId }) => toolCallId),
  });
}

/** INVALID_STATE: the run has ended, and what that means for the command. */
export function hasEnded({ status, run }: LiveRun & RunState, consequence: string): SignalboxError {
  return new SignalboxError("INVALID_STATE", `run ${run.runId} has ${ending(status)} and ${consequence}`, { status });
}

function ending(status: RunState["status"]): string {
  return status === "canceled" ? "been canceled" : status;
}

/** Unknown ids and ids of another tenant look the same. */
export function runNotFound(runId: string): SignalboxError {
  return new SignalboxError("RUN_NOT_FOUND", `run ${runId} does not exist in this workspace`);
}
