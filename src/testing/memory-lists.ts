import type { Run, Step, ToolCall } from "../../gen/signalbox/v1/run_pb.ts";
import type { EventRecord } from "../eventlog/record.ts";
import type { RunLists } from "../runs/queries.ts";
import { evolveRun } from "../runs/resource.ts";
import { evolveStep, stepIdsOf } from "../runs/step.ts";
import { evolveToolCall, toolCallIdsOf } from "../runs/tool-call.ts";

/** The read models of a test: what the log says, in memory. */
export interface MemoryLists extends RunLists {
  /** Takes the next record of the log. */
  take(record: EventRecord): void;
  /** Every run, the oldest first. */
  all(): Run[];
  /** A run as of the last record; undefined when there is none. */
  run(runId: string): Run | undefined;
}

/** Lists without anything in them. They come in one page: a test that makes thousands of runs has another purpose. */
export function createMemoryLists(): MemoryLists {
  const runs = new Map<string, Run>();
  const steps = new Map<string, Step>();
  const toolCalls = new Map<string, ToolCall>();
  const page = <T>(items: T[]) => ({ items, nextPageToken: "" });
  return {
    take({ event }) {
      if (event.stream?.type === "run") {
        const run = evolveRun(runs.get(event.stream.id), event);
        if (run) runs.set(event.stream.id, run);
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
