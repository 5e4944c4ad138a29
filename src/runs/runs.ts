import { durationMs } from "@bufbuild/protobuf/wkt";
import { type Agent, AgentStatus, AgentStatusSchema } from "../../gen/signalbox/v1/agent_pb.ts";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import type { Run, Step, ToolCall } from "../../gen/signalbox/v1/run_pb.ts";
import {
  type CreateRunRequest,
  CreateRunRequestSchema,
  type ListRunsRequest,
  type ListStepsRequest,
  type ListToolCallsRequest,
  type WaitRunRequest,
} from "../../gen/signalbox/v1/run_service_pb.ts";
import type { Aggregates } from "../eventlog/aggregates.ts";
import { terminalRunTypes } from "../eventlog/event-type.ts";
import type { Feed } from "../eventlog/feed.ts";
import type { Call } from "../kernel/call.ts";
import { requestDigest } from "../kernel/digest.ts";
import { enumName } from "../kernel/enum-name.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { derivedId, type IdSource } from "../kernel/ids.ts";
import { type Limits, requireStorable } from "../kernel/limits.ts";
import { readPage } from "../readmodel/page.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Db } from "../readmodel/postgres.ts";
import { cancelRun, createRun, isOpen, type NewRun, runNotFound } from "./decider.ts";
import { type Found, listRuns, listSteps, listToolCalls } from "./queries.ts";
import { completeRetryPolicy } from "./retry-policy.ts";
import type { LiveRun, RunState } from "./state.ts";

/** A run and where the log stood after the command. */
export interface RunAt {
  readonly run: Run;
  readonly position: bigint;
}

/** What clients can do with runs. Every function throws the errors that run_service.proto names. */
export interface Runs {
  create(call: Call, request: CreateRunRequest): Promise<RunAt>;
  get(call: Call, runId: string): Promise<Run>;
  cancel(call: Call, runId: string, reason: string): Promise<RunAt>;
  /** The run as soon as it is terminal, or as it is when the time is up or `giveUp` aborts. */
  wait(call: Call, request: WaitRunRequest, giveUp: AbortSignal): Promise<Run>;
  list(call: Call, request: ListRunsRequest): Promise<Found<Run>>;
  listSteps(call: Call, request: ListStepsRequest): Promise<Found<Step>>;
  listToolCalls(call: Call, request: ListToolCallsRequest): Promise<Found<ToolCall>>;
}

/** What runs need. */
export interface RunsDeps {
  readonly aggregates: Aggregates<RunState>;
  readonly feed: Feed;
  readonly db: Db;
  readonly positions: Pick<Positions, "reach">;
  readonly ids: IdSource;
  readonly limits: Limits;
  /** The agent as it is now; undefined when there is none in the workspace. */
  readonly findAgent: (workspaceId: string, agentId: string) => Promise<Agent | undefined>;
}

const defaultWaitMs = 30_000;

/** Runs on a log and its read models. */
export function createRuns({ aggregates, feed, db, positions, ids, limits, findAgent }: RunsDeps): Runs {
  async function load({ workspaceId }: Call, runId: string): Promise<LiveRun & RunState> {
    const { state } = await aggregates.load(workspaceId, runId);
    if (state.status === "absent") throw runNotFound(runId);
    return state;
  }

  async function create(call: Call, request: CreateRunRequest): Promise<RunAt> {
    requireStorable("input", request.input, limits.maxInputBytes);
    const agent =
      request.agentId === "" ? undefined : requireAgent(request, await findAgent(call.workspaceId, request.agentId));
    const repeatable = request.requestId !== "";
    const runId = repeatable ? derivedId("run", call.workspaceId, "CreateRun", request.requestId) : ids.next("run");
    const newRun = completeRun(runId, request, agent);
    const { state, position } = await aggregates.execute({
      call,
      id: runId,
      creation: { roomId: request.roomId, repeatable },
      decide: (before) => {
        const draft = createRun(before, newRun);
        // A repeat answers the run whatever has become of its agent since.
        if (draft !== undefined) requireActive(agent);
        return draft;
      },
    });
    return at(state, position, runId);
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
    create,
    get: async (call, runId) => (await load(call, runId)).run,
    async cancel(call, runId, reason) {
      const { state, position } = await aggregates.execute({
        call,
        id: runId,
        decide: (before) => cancelRun(before, runId, reason),
      });
      return at(state, position, runId);
    },
    wait,
    async list(call, request) {
      const { pageSize, pageToken, minPosition, ...filters } = request;
      const page = readPage("runs", [call.workspaceId, filters], pageSize, pageToken);
      await positions.reach(minPosition, call.signal);
      return listRuns(db, call.workspaceId, request, page);
    },
    async listSteps(call, { runId, pageSize, pageToken, minPosition }) {
      const page = readPage("steps", [call.workspaceId, runId], pageSize, pageToken);
      await load(call, runId);
      await positions.reach(minPosition, call.signal);
      return listSteps(db, call.workspaceId, runId, page);
    },
    async listToolCalls(call, { runId, statuses, pageSize, pageToken, minPosition }) {
      const page = readPage("tool_calls", [call.workspaceId, runId, statuses], pageSize, pageToken);
      await load(call, runId);
      await positions.reach(minPosition, call.signal);
      return listToolCalls(db, call.workspaceId, runId, statuses, page);
    },
  };
}

/** The request with every default filled in: its own, else the agent's, else ours. */
function completeRun(runId: string, request: CreateRunRequest, agent: Agent | undefined): NewRun {
  return {
    runId,
    request,
    handler: request.handler || agent?.handler || "",
    zone: request.zone || agent?.zone || Zone.SANDBOX,
    retryPolicy: completeRetryPolicy(request.retryPolicy ?? agent?.limits?.retryPolicy),
    maxDuration: request.maxDuration ?? agent?.limits?.maxDuration,
    requestDigest: request.requestId === "" ? new Uint8Array() : requestDigest(CreateRunRequestSchema, request),
  };
}

function requireAgent({ agentId }: CreateRunRequest, agent: Agent | undefined): Agent {
  if (agent === undefined) {
    throw new SignalboxError("AGENT_NOT_FOUND", `agent ${agentId} does not exist in this workspace`);
  }
  return agent;
}

function requireActive(agent: Agent | undefined): void {
  if (agent === undefined || agent.status === AgentStatus.ACTIVE) return;
  const status = enumName(AgentStatusSchema, agent.status);
  throw new SignalboxError("INVALID_STATE", `agent ${agent.agentId} is ${status} and takes no new runs`, { status });
}

function at(state: RunState, position: bigint, runId: string): RunAt {
  if (state.status === "absent") throw runNotFound(runId);
  return { run: state.run, position };
}
