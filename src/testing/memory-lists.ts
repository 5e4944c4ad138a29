import { type Approval, ApprovalStatus } from "../../gen/signalbox/v1/approval_pb.ts";
import { type Artifact, ArtifactPurpose } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { Run, Step, ToolCall } from "../../gen/signalbox/v1/run_pb.ts";
import type { ApprovalLists, ApprovalQuery } from "../approvals/queries.ts";
import { evolveApproval } from "../approvals/resource.ts";
import { evolveArtifact } from "../artifacts/resource.ts";
import type { EventRecord } from "../eventlog/record.ts";
import type { RunLists } from "../runs/queries.ts";
import { evolveRun } from "../runs/resource.ts";
import { evolveStep, stepIdsOf } from "../runs/step.ts";
import { evolveToolCall, toolCallIdsOf } from "../runs/tool-call.ts";

/** The read models of a test: what the log says, in memory. */
export interface MemoryLists extends RunLists, ApprovalLists {
  /** Takes the next record of the log. */
  take(record: EventRecord): void;
  /** Every run, the oldest first. */
  all(): Run[];
  /** A run as of the last record; undefined when there is none. */
  run(runId: string): Run | undefined;
  /** The files of a run, the oldest first. */
  files(runId: string): Artifact[];
  /** The approvals that have not ended, the oldest first. */
  openApprovals(): Approval[];
}

const open: ReadonlySet<ApprovalStatus> = new Set([
  ApprovalStatus.PENDING,
  ApprovalStatus.HELD,
  ApprovalStatus.APPROVED,
]);

/** Lists without anything in them. They come in one page: a test that makes thousands of runs has another purpose. */
export function createMemoryLists(): MemoryLists {
  const runs = new Map<string, Run>();
  const steps = new Map<string, Step>();
  const toolCalls = new Map<string, ToolCall>();
  const approvals = new Map<string, Approval>();
  const artifacts = new Map<string, Artifact>();
  const page = <T>(items: T[]) => ({ items, nextPageToken: "" });
  return {
    take({ event }) {
      if (event.stream?.type === "run") {
        const run = evolveRun(runs.get(event.stream.id), event);
        if (run) runs.set(event.stream.id, run);
      }
      if (event.stream?.type === "approval") {
        const approval = evolveApproval(approvals.get(event.stream.id), event);
        if (approval) approvals.set(event.stream.id, approval);
      }
      if (event.stream?.type === "artifact") {
        const artifact = evolveArtifact(artifacts.get(event.stream.id), event);
        if (artifact) artifacts.set(event.stream.id, artifact);
      }
      for (const id of stepIdsOf(event)) {
        const step = evolveStep(steps.get(id), event);
        if (step) steps.set(id, step);
      }
      for (const id of toolCallIdsOf(event)) {
        const call = evolveToolCall(toolCalls.get(id), event);
        if (call) toolCalls.set(id, call);
      }
    },
    all: () => [...runs.values()],
    run: (runId) => runs.get(runId),
    files: (runId) =>
      [...artifacts.values()].filter((each) => each.runId === runId && each.purpose !== ArtifactPurpose.STEP_OUTPUT),
    openApprovals: () => [...approvals.values()].filter(({ status }) => open.has(status)),
    approvals: async (workspaceId, query) =>
      page(
        [...approvals.values()].filter((each) => each.workspaceId === workspaceId && keeps(query, each)).toReversed(),
      ),
    async runs(workspaceId, request) {
      const { statuses, agentId, handler, parentRunId, sessionId, queue } = request;
      const found = [...runs.values()].filter(
        (run) =>
          run.workspaceId === workspaceId &&
          (statuses.length === 0 || statuses.includes(run.status)) &&
          (agentId === "" || run.agentId === agentId) &&
          (handler === "" || run.handler === handler) &&
          (parentRunId === "" || run.parentRunId === parentRunId) &&
          (sessionId === "" || run.sessionId === sessionId) &&
          (queue === "" || run.queue === queue),
      );
      return page(found.toReversed());
    },
    steps: async (_workspaceId, runId) => page([...steps.values()].filter((step) => step.runId === runId)),
    toolCalls: async (_workspaceId, runId, statuses) =>
      page(
        [...toolCalls.values()].filter(
          (call) => call.runId === runId && (statuses.length === 0 || statuses.includes(call.status)),
        ),
      ),
  };
}

function keeps({ statuses, roomId, runId, agentId, assignee, minRisk }: ApprovalQuery, approval: Approval): boolean {
  const everybody = approval.requiredApprovers.length === 0 && !assignee.startsWith("agent:");
  return (
    (statuses.length === 0 || statuses.includes(approval.status)) &&
    (roomId === "" || approval.roomId === roomId) &&
    (runId === "" || approval.runId === runId) &&
    (agentId === "" || approval.agentId === agentId) &&
    (assignee === "" ||
      approval.deciders.includes(assignee) ||
      (everybody && !approval.delegatedBy.includes(assignee))) &&
    approval.risk >= minRisk
  );
}
