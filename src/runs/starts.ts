import { create as message } from "@bufbuild/protobuf";
import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { type Agent, AgentStatus, AgentStatusSchema } from "../../gen/signalbox/v1/agent_pb.ts";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import {
  type CreateRunRequest,
  CreateRunRequestSchema,
  type ForkRunRequest,
  ForkRunRequestSchema,
  type RetryRunRequest,
  RetryRunRequestSchema,
} from "../../gen/signalbox/v1/run_service_pb.ts";
import type { Aggregates } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import { requestDigest } from "../kernel/digest.ts";
import { enumName } from "../kernel/enum-name.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { derivedId, type IdSource } from "../kernel/ids.ts";
import { type Limits, requireStorable } from "../kernel/limits.ts";
import { createRun, type NewRun, runNotFound } from "./decider.ts";
import { requireDepth, requireOpenParent } from "./parent.ts";
import { resumeRun } from "./pause-decider.ts";
import { completeRetryPolicy } from "./retry-policy.ts";
import type { LiveRun, RunState } from "./state.ts";

/** A run and where the log stood after the command. */
export interface RunAt {
  readonly run: Run;
  readonly position: bigint;
}

/** The ways in which a run comes into being. Every function throws the errors that run_service.proto names. */
export interface Starts {
  create(call: Call, request: CreateRunRequest): Promise<RunAt>;
  /** The paused run resumed, or another run for the failed or canceled one. */
  retry(call: Call, request: RetryRunRequest): Promise<RunAt>;
  fork(call: Call, request: ForkRunRequest): Promise<RunAt>;
  /** The run that `create` has made for this request_id, as it is now; undefined when it has made none. */
  createdBy(workspaceId: string, requestId: string): Promise<Run | undefined>;
}

/** What starts need. */
export interface StartsDeps {
  readonly aggregates: Aggregates<RunState>;
  readonly ids: IdSource;
  readonly limits: Limits;
  /** The agent as it is now; undefined when there is none in the workspace. */
  readonly findAgent: (workspaceId: string, agentId: string) => Promise<Agent | undefined>;
  /** Creates runs of reserved handlers as well, default false. */
  readonly createsReserved?: boolean;
}

/** What the names of handlers begin with whose runs other services create, such as evaluations. */
const reservedPrefix = "signalbox:";

/** Starts runs on a log. */
export function createStarts(deps: StartsDeps): Starts {
  const { aggregates, ids, limits, findAgent, createsReserved = false } = deps;

  async function load({ workspaceId }: Call, runId: string): Promise<LiveRun & RunState> {
    const { state } = await aggregates.load(workspaceId, runId);
    if (state.status === "absent") throw runNotFound(runId);
    return state;
  }

  async function agentOf({ workspaceId }: Call, agentId: string): Promise<Agent | undefined> {
    return agentId === "" ? undefined : requireAgent(agentId, await findAgent(workspaceId, agentId));
  }

  /** Records the run. A repeat answers the first one, whatever has become since of what `admit` looks at. */
  async function start(call: Call, newRun: NewRun, place: Place, admit: () => void): Promise<RunAt> {
    const { state, position } = await aggregates.execute({
      call,
      id: newRun.runId,
      creation: place,
      decide: (before) => {
        const draft = createRun(before, newRun);
        if (draft !== undefined) admit();
        return draft;
      },
    });
    return at(state, position, newRun.runId);
  }

  /** Another run for one that is there: the same request, on top of its record. */
  async function startAgain(call: Call, base: LiveRun, again: Again): Promise<RunAt> {
    const agent = await agentOf(call, base.run.agentId);
    const { roomId, threadId } = base.run;
    const place = { roomId, threadId, repeatable: again.repeatable };
    return start(call, sameRun(base.run, again), place, () => requireActive(agent));
  }

  return {
    async create(call, request) {
      requireStorable("input", request.input, limits.maxInputBytes);
      const agent = await agentOf(call, request.agentId);
      const parent = request.parentRunId === "" ? undefined : await load(call, request.parentRunId);
      const depth = parent === undefined ? 0 : parent.run.depth + 1;
      const repeatable = request.requestId !== "";
      const runId = repeatable ? idOfCreated(call.workspaceId, request.requestId) : ids.next("run");
      const newRun = completeRun(runId, request, { agent, parent, depth });
      if (!createsReserved) requireFreeHandler(newRun.handler);
      const { roomId, threadId } = request;
      return start(call, newRun, { roomId, threadId, repeatable }, () => {
        requireActive(agent);
        if (parent) requireOpenParent(parent);
        requireDepth(depth);
      });
    },
    async retry(call, request) {
      const { runId, note } = request;
      const before = await load(call, runId);
      if (before.status === "failed" || before.status === "canceled") {
        return startAgain(call, before, {
          runId: derivedId("run", call.workspaceId, "RetryRun", runId),
          requestId: "",
          repeatable: true,
          requestDigest: requestDigest(RetryRunRequestSchema, message(RetryRunRequestSchema, { runId })),
          basePosition: before.run.position,
          input: before.run.input,
          // The same question once more. A fork tries something else, and answers nobody.
          messageId: before.run.messageId,
        });
      }
      requireRetryable(before);
      const decide = (state: RunState, now: Date) => resumeRun(state, runId, { note, budget: undefined }, now);
      const { state, position } = await aggregates.execute({ call, id: runId, decide });
      return at(state, position, runId);
    },
    async fork(call, request) {
      const { runId, requestId, position, input } = request;
      requireStorable("input", input, limits.maxInputBytes);
      const base = await load(call, runId);
      const repeatable = requestId !== "";
      return startAgain(call, base, {
        runId: repeatable ? derivedId("run", call.workspaceId, "ForkRun", requestId) : ids.next("run"),
        requestId,
        repeatable,
        requestDigest: repeatable ? requestDigest(ForkRunRequestSchema, request) : new Uint8Array(),
        // What a run that goes on will do is not on its record yet.
        basePosition: position === 0n || position > base.run.position ? base.run.position : position,
        input: input ?? base.run.input,
        messageId: "",
      });
    },
    async createdBy(workspaceId, requestId) {
      const { state } = await aggregates.load(workspaceId, idOfCreated(workspaceId, requestId));
      return state.status === "absent" ? undefined : state.run;
    },
  };
}

/** The id of the run that a CreateRun with this request_id creates. */
export function idOfCreated(workspaceId: string, requestId: string): string {
  return derivedId("run", workspaceId, "CreateRun", requestId);
}

/** Where a run is created. */
interface Place {
  readonly roomId: string;
  /** The conversation that it belongs to; empty for none. */
  readonly threadId: string;
  /** True when its id is derived from the request, so that it may be there already. */
  readonly repeatable: boolean;
}

/** What differs in a run that is started again. */
interface Again {
  readonly runId: string;
  readonly requestId: string;
  readonly repeatable: boolean;
  readonly requestDigest: Uint8Array;
  /** Up to where the base run's record is reused. */
  readonly basePosition: bigint;
  readonly input: Run["input"];
  /** The message that it answers; empty for none. */
  readonly messageId: string;
}

/** The request with every default filled in: its own, else the agent's, else ours. */
function completeRun(
  runId: string,
  request: CreateRunRequest,
  { agent, parent, depth }: { agent: Agent | undefined; parent: LiveRun | undefined; depth: number },
): NewRun {
  const zone = request.zone || agent?.zone || Zone.SANDBOX;
  return {
    runId,
    request,
    handler: request.handler || agent?.handler || "",
    // What a run may not do by itself, it may not do by its children.
    zone: parent !== undefined && parent.run.zone > zone ? parent.run.zone : zone,
    retryPolicy: completeRetryPolicy(request.retryPolicy ?? agent?.limits?.retryPolicy),
    maxDuration: request.maxDuration ?? agent?.limits?.maxDuration,
    budget: request.budget ?? agent?.limits?.budget,
    depth,
    base: undefined,
    requestDigest: request.requestId === "" ? new Uint8Array() : requestDigest(CreateRunRequestSchema, request),
  };
}

/** What the run was created with. It stands alone: whoever waited for the first one has been told of its end. */
function sameRun(run: Run, { runId, requestId, requestDigest: digest, basePosition, input, messageId }: Again): NewRun {
  const { agentId, queue, labels, threadId, sessionId, priority, concurrencyKey, createTime, deadlineTime } = run;
  const kept = { agentId, queue, labels, threadId, sessionId, priority, concurrencyKey };
  return {
    runId,
    request: message(CreateRunRequestSchema, { ...kept, requestId, input, messageId }),
    handler: run.handler,
    zone: run.zone,
    retryPolicy: completeRetryPolicy(run.retryPolicy),
    maxDuration:
      createTime && deadlineTime ? durationFromMs(timestampMs(deadlineTime) - timestampMs(createTime)) : undefined,
    budget: run.budget,
    depth: 0,
    base: { runId: run.runId, position: basePosition },
    requestDigest: digest,
  };
}

function requireFreeHandler(handler: string): void {
  if (!handler.startsWith(reservedPrefix)) return;
  throw new SignalboxError(
    "INVALID_REQUEST",
    `handler ${handler} is reserved: its runs are created by Signalbox, evaluations by EvalService.Evaluate`,
  );
}

function requireAgent(agentId: string, agent: Agent | undefined): Agent {
  if (agent !== undefined) return agent;
  throw new SignalboxError("AGENT_NOT_FOUND", `agent ${agentId} does not exist in this workspace`);
}

function requireActive(agent: Agent | undefined): void {
  if (agent === undefined || agent.status === AgentStatus.ACTIVE) return;
  const status = enumName(AgentStatusSchema, agent.status);
  throw new SignalboxError("INVALID_STATE", `agent ${agent.agentId} is ${status} and takes no new runs`, { status });
}

function requireRetryable({ status, run }: LiveRun & RunState): void {
  if (status === "paused") return;
  throw new SignalboxError(
    "INVALID_STATE",
    `run ${run.runId} is ${status}; only a paused, failed or canceled run can be retried`,
    { status },
  );
}

function at(state: RunState, position: bigint, runId: string): RunAt {
  if (state.status === "absent") throw runNotFound(runId);
  return { run: state.run, position };
}
