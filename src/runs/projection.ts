import { toBinary } from "@bufbuild/protobuf";
import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import { PipelineItemSchema } from "../../gen/signalbox/v1/pipeline_service_pb.ts";
import { RunSchema, StepSchema, ToolCallSchema } from "../../gen/signalbox/v1/run_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { type AnyProjection, eraseProjection } from "../readmodel/projection.ts";
import { pipelineItem, stageOf } from "./pipeline-item.ts";
import { evolveRun } from "./resource.ts";
import { evolveStep, stepIdsOf } from "./step.ts";
import { evolveToolCall, toolCallIdsOf } from "./tool-call.ts";
import { awaitedApprovals, awaitedRunIds, wakeTimeOf } from "./waiting.ts";

const runs = eraseProjection({
  table: "runs",
  idColumn: "run_id",
  schema: RunSchema,
  columns: [
    { name: "room_id", type: "text", value: (run) => run.roomId },
    { name: "agent_id", type: "text", value: (run) => run.agentId },
    { name: "handler", type: "text", value: (run) => run.handler },
    { name: "status", type: "smallint", value: (run) => run.status },
    { name: "labels", type: "jsonb", value: (run) => JSON.stringify(run.labels) },
    { name: "create_time", type: "timestamptz", value: (run) => date(run.createTime) },
    { name: "available_time", type: "timestamptz", value: (run) => date(run.availableTime) },
    { name: "deadline_time", type: "timestamptz", value: (run) => date(run.deadlineTime) },
    { name: "lease_expire_time", type: "timestamptz", value: (run) => date(run.leaseExpireTime) },
    { name: "queue", type: "text", value: (run) => run.queue },
    { name: "parent_run_id", type: "text", value: (run) => run.parentRunId },
    { name: "session_id", type: "text", value: (run) => run.sessionId },
    { name: "end_reason", type: "smallint", value: (run) => run.endReason },
    { name: "wake_time", type: "timestamptz", value: (run) => date(wakeTimeOf(run.waitingOn)) },
    { name: "waiting_for", type: "jsonb", value: (run) => JSON.stringify(awaitedRunIds(run.waitingOn)) },
    { name: "priority", type: "smallint", value: (run) => run.priority },
    { name: "concurrency_key", type: "text", value: (run) => run.concurrencyKey },
    { name: "start_time", type: "timestamptz", value: (run) => date(run.startTime) },
    { name: "message_id", type: "text", value: (run) => run.messageId },
    { name: "waiting_approvals", type: "jsonb", value: (run) => JSON.stringify(awaitedApprovals(run.waitingOn)) },
    { name: "end_time", type: "timestamptz", value: (run) => date(run.endTime) },
    { name: "stage", type: "smallint", value: (run) => stageOf(run) },
    { name: "item", type: "bytea", value: (run) => Buffer.from(toBinary(PipelineItemSchema, pipelineItem(run))) },
  ],
  idsOf: (event) => (isRunEvent(event) ? [event.stream?.id ?? ""] : []),
  evolve: evolveRun,
});

const steps = eraseProjection({
  table: "steps",
  idColumn: "step_id",
  schema: StepSchema,
  columns: [
    { name: "run_id", type: "text", value: (step) => step.runId },
    { name: "name", type: "text", value: (step) => step.name },
    { name: "stop_position", type: "bigint", value: (step) => step.stopPosition },
  ],
  idsOf: stepIdsOf,
  evolve: evolveStep,
});

const toolCalls = eraseProjection({
  table: "tool_calls",
  idColumn: "tool_call_id",
  schema: ToolCallSchema,
  columns: [
    { name: "run_id", type: "text", value: (call) => call.runId },
    { name: "status", type: "smallint", value: (call) => call.status },
    { name: "tool", type: "text", value: (call) => call.tool },
    { name: "effect", type: "smallint", value: (call) => call.effect },
    { name: "start_position", type: "bigint", value: (call) => call.lastStartPosition },
    { name: "end_position", type: "bigint", value: (call) => call.endPosition },
    { name: "stop_position", type: "bigint", value: (call) => call.stopPosition },
    { name: "approval_id", type: "text", value: (call) => call.approvalId },
  ],
  idsOf: toolCallIdsOf,
  evolve: evolveToolCall,
});

/** The read models of runs. */
export const runProjections: readonly AnyProjection[] = [runs, steps, toolCalls];

function isRunEvent(event: Event): boolean {
  return event.stream?.type === "run";
}

function date(time: Timestamp | undefined): Date | null {
  return time ? timestampDate(time) : null;
}
