import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Run, Step, ToolCall } from "../../gen/signalbox/v1/run_pb.ts";
import type {
  ListRunsRequest,
  ListStepsRequest,
  ListToolCallsRequest,
  WaitRunRequest,
} from "../../gen/signalbox/v1/run_service_pb.ts";
import { terminalRunTypes } from "../eventlog/event-type.ts";
import type { Feed } from "../eventlog/feed.ts";
import type { Call } from "../kernel/call.ts";
import { readPage } from "../readmodel/page.ts";
import type { Positions } from "../readmodel/positions.ts";
import { isOpen, runNotFound } from "./decider.ts";
import type { Found } from "../readmodel/resource-page.ts";
import type { RunLists } from "./queries.ts";
import { createStarts, type Starts, type StartsDeps } from "./starts.ts";
import type { LiveRun, RunState } from "./state.ts";
import { createSteering, type Steering } from "./steering.ts";

/** What clients can do with runs. Every function throws the errors that run_service.proto names. */
export interface Runs extends Starts, Steering {
  get(call: Call, runId: string): Promise<Run>;
  /** The run as soon as it is terminal, or as it is when the time is up or `giveUp` aborts. */
  wait(call: Call, request: WaitRunRequest, giveUp: AbortSignal): Promise<Run>;
  list(call: Call, request: ListRunsRequest): Promise<Found<Run>>;
  listSteps(call: Call, request: ListStepsRequest): Promise<Found<Step>>;
  listToolCalls(call: Call, request: ListToolCallsRequest): Promise<Found<ToolCall>>;
}

/** What runs need. */
export interface RunsDeps extends StartsDeps {
  readonly feed: Feed;
  readonly lists: RunLists;
  readonly positions: Pick<Positions, "reach">;
}

const defaultWaitMs = 30_000;

/** Runs on a log and its read models. */
export function createRuns(deps: RunsDeps): Runs {
  const { aggregates, feed, lists, positions } = deps;

  async function load({ workspaceId }: Call, runId: string): Promise<LiveRun & RunState> {
    const { state } = await aggregates.load(workspaceId, runId);
    if (state.status === "absent") throw runNotFound(runId);
    return state;
  }

  async function wait(call: Call, { runId, timeout }: WaitRunRequest, giveUp: AbortSignal): Promise<Run> {
    const { state, position } = await aggregates.load(call.workspaceId, runId);
    if (state.status === "absent") throw runNotFound(runId);
    if (!isOpen(state)) return state.run;
    const until = performance.now() + (timeout ? durationMs(timeout) : defaultWaitMs);
    const signal = AbortSignal.any([call.signal, giveUp]);
    using subscription = feed.subscribe(
      { workspaceId: call.workspaceId, stream: { type: "run", id: runId } },
      position,
    );
    while (!signal.aborted) {
      const leftMs = until - performance.now();
      if (leftMs <= 0) break;
      const records = await subscription.next(leftMs, signal);
      if (records.some(({ event }) => terminalRunTypes.has(event.type))) break;
    }
    return (await load(call, runId)).run;
  }

  return {
    ...createStarts(deps),
    ...createSteering(deps),
    get: async (call, runId) => (await load(call, runId)).run,
    wait,
    async list(call, request) {
      const { pageSize, pageToken, minPosition, ...filters } = request;
      const page = readPage("runs", [call.workspaceId, filters], pageSize, pageToken);
      await positions.reach(minPosition, call.signal);
      return lists.runs(call.workspaceId, request, page);
    },
    async listSteps(call, { runId, pageSize, pageToken, minPosition }) {
      const page = readPage("steps", [call.workspaceId, runId], pageSize, pageToken);
      await load(call, runId);
      await positions.reach(minPosition, call.signal);
      return lists.steps(call.workspaceId, runId, page);
    },
    async listToolCalls(call, { runId, statuses, pageSize, pageToken, minPosition }) {
      const page = readPage("tool_calls", [call.workspaceId, runId, statuses], pageSize, pageToken);
      if (runId !== "") await load(call, runId);
      await positions.reach(minPosition, call.signal);
      return lists.toolCalls(call.workspaceId, runId, statuses, page);
    },
  };
}
