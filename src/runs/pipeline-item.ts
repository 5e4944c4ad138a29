import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import {
  type PipelineItem,
  PipelineItemSchema,
  PipelineStageKind,
} from "../../gen/signalbox/v1/pipeline_service_pb.ts";
import { type Run, RunStatus } from "../../gen/signalbox/v1/run_pb.ts";

/** The column of the board that a run stands in. Pure. */
export function stageOf(run: Run): PipelineStageKind {
  switch (run.status) {
    case RunStatus.QUEUED:
      return run.attempt === 0 ? PipelineStageKind.INBOX : PipelineStageKind.QUEUED;
    case RunStatus.RUNNING:
      return PipelineStageKind.RUNNING;
    case RunStatus.WAITING:
      return awaitedApprovals(run).length > 0 ? PipelineStageKind.NEEDS_DECISION : PipelineStageKind.QUEUED;
    case RunStatus.PAUSED:
      return PipelineStageKind.NEEDS_DECISION;
    case RunStatus.SUCCEEDED:
      return PipelineStageKind.DONE;
    case RunStatus.FAILED:
    case RunStatus.CANCELED:
      return PipelineStageKind.FAILED;
    case RunStatus.UNSPECIFIED:
    default:
      throw new Error(`run ${run.runId} has status ${run.status}, which this program does not know`);
  }
}

/** What the board shows of a run. Pure. */
export function pipelineItem(run: Run): PipelineItem {
  const { runId, roomId, threadId, agentId, handler, status, endReason, labels, createTime, position, attempt } = run;
  return create(PipelineItemSchema, {
    runId,
    roomId,
    threadId,
    agentId,
    handler,
    status,
    endReason,
    pauseReason: run.pause?.reason ?? 0,
    approvalIds: awaitedApprovals(run),
    labels,
    createTime,
    updateTime: statusTime(run),
    position,
    attempt,
  });
}

/** The approvals that a run waits for. */
function awaitedApprovals({ waitingOn }: Run): string[] {
  return (waitingOn?.conditions ?? []).flatMap(({ condition }) =>
    condition.case === "approval" ? [condition.value.approvalId] : [],
  );
}

/** Since when a run has its status; undefined where it does not say so. */
function statusTime({ status, attempt, createTime, claimTime, pause, endTime }: Run): Timestamp | undefined {
  if (status === RunStatus.QUEUED) return attempt === 0 ? createTime : undefined;
  return claimTime ?? pause?.pauseTime ?? endTime;
}
