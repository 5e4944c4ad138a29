import type {
  CompleteStepRequest,
  FailStepRequest,
  FailToolCallRequest,
  ReconcileToolCallRequest,
  StartStepRequest,
  StartToolCallRequest,
  SucceedToolCallRequest,
} from "../../gen/signalbox/v1/engine_service_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { type Step, StepStatus, type ToolCall, ToolCallStatus } from "../../gen/signalbox/v1/run_pb.ts";
import type { Aggregates, Draft, Loaded } from "../eventlog/aggregates.ts";
import type { LeaseTicket, LeaseTokens } from "../jobs/lease-token.ts";
import type { Call } from "../kernel/call.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { derivedId } from "../kernel/ids.ts";
import { type Limits, requireStorable } from "../kernel/limits.ts";
import { createBaseRecord } from "./base-record.ts";
import { runNotFound } from "./decider.ts";
import type { RunRecord } from "./run-record.ts";
import type { LiveRun, RunState } from "./state.ts";
import { completeStep, failStep, type NewStep, type RecordedStep, startStep } from "./step-decider.ts";
import { newStep } from "./step-request.ts";
import {
  failToolCall,
  type RecordedToolCall,
  reconcileToolCall,
  startToolCall,
  succeedToolCall,
} from "./tool-call-decider.ts";

/** A step and where the log stood after the command. */
interface StepAt {
  readonly step: Step;
  readonly position: bigint;
}

/** A tool call and where the log stood after the command. */
interface ToolCallAt {
  readonly toolCall: ToolCall;
  readonly position: bigint;
}

/** What workers record inside a run. Every function throws the errors that engine_service.proto names. */
export interface Work {
  startStep(call: Call, request: StartStepRequest): Promise<StepAt>;
  completeStep(call: Call, request: CompleteStepRequest): Promise<StepAt>;
  failStep(call: Call, request: FailStepRequest): Promise<StepAt>;
  startToolCall(call: Call, request: StartToolCallRequest): Promise<ToolCallAt>;
  succeedToolCall(call: Call, request: SucceedToolCallRequest): Promise<ToolCallAt>;
  failToolCall(call: Call, request: FailToolCallRequest): Promise<ToolCallAt>;
  reconcileToolCall(call: Call, request: ReconcileToolCallRequest): Promise<ToolCallAt>;
}

/** What work needs. */
export interface WorkDeps {
  readonly aggregates: Aggregates<RunState>;
  readonly record: RunRecord;
  readonly tokens: LeaseTokens;
  readonly limits: Limits;
}

/** Steps and tool calls under a lease. */
export function createWork({ aggregates, record, tokens, limits }: WorkDeps): Work {
  const base = createBaseRecord({ aggregates, record });

  type Decide = (state: RunState, ticket: LeaseTicket, now: Date) => Draft | undefined;

  type Executed = Loaded<LiveRun> & { readonly payload: Event["payload"] | undefined };

  async function execute(call: Call, leaseToken: string, decide: Decide): Promise<Executed> {
    const ticket = tokens.open(leaseToken, call.workspaceId);
    const id = ticket.runId;
    const loaded = await aggregates.execute({ call, id, decide: (state, now) => decide(state, ticket, now) });
    const { state } = loaded;
    if (state.status === "absent") throw new SignalboxError("RUN_NOT_FOUND", `run ${ticket.runId} does not exist`);
    return { ...loaded, state, payload: loaded.recorded?.event.payload };
  }

  /** The step after a command, without its input, which the worker knows. */
  async function onStep(call: Call, leaseToken: string, stepId: string, decide: Decide): Promise<StepAt> {
    const { state, subject = "", position, payload } = await execute(call, leaseToken, decide);
    const head = state.steps.get(stepId);
    if (head === undefined) throw new SignalboxError("STEP_NOT_FOUND", "the run has no such step; start it first");
    if (payload?.case === "stepCompleted" || payload?.case === "stepReused")
      return { step: { ...head.step, output: payload.value.output }, position };
    if (head.step.status !== StepStatus.COMPLETED) return { step: head.step, position };
    return { step: { ...head.step, output: await record.stepOutput(subject, head) }, position };
  }

  /** The tool call after a command, without its arguments, which the worker knows. */
  async function onToolCall(call: Call, leaseToken: string, toolCallId: string, decide: Decide): Promise<ToolCallAt> {
    const { state, subject = "", position, payload } = await execute(call, leaseToken, decide);
    const head = state.toolCalls.get(toolCallId);
    if (head === undefined)
      throw new SignalboxError("TOOL_CALL_NOT_FOUND", "the run has no such tool call; start it first");
    if (
      payload?.case === "toolCallSucceeded" ||
      payload?.case === "toolCallReconciled" ||
      payload?.case === "toolCallReused"
    ) {
      return { toolCall: { ...head.toolCall, result: payload.value.result }, position };
    }
    const { status } = head.toolCall;
    const done = status === ToolCallStatus.SUCCEEDED || status === ToolCallStatus.RECONCILED;
    const toolCall = done ? { ...head.toolCall, result: await record.toolCallResult(subject, head) } : head.toolCall;
    return { toolCall, position };
  }

  /** The run as this process saw it last: what it was created with is the same for ever, what it has done only grows. */
  async function glance(workspaceId: string, runId: string): Promise<LiveRun | undefined> {
    const { state } = aggregates.cached(workspaceId, runId) ?? (await aggregates.load(workspaceId, runId));
    return state.status === "absent" ? undefined : state;
  }

  /** What the base run has on record of a step that is new here. A step that waits for a child has to name the run's own. */
  async function recordedStep({ workspaceId }: Call, runId: string, step: NewStep): Promise<RecordedStep | undefined> {
    const live = await glance(workspaceId, runId);
    if (live === undefined || live.steps.get(step.stepId)?.step.childRunId === step.childRunId) return undefined;
    const recorded = live.run.baseRunId ? await base.step(workspaceId, live.run, step.key, step.kind) : undefined;
    if (recorded === undefined && step.childRunId) await requireChild(workspaceId, runId, step.childRunId);
    return recorded;
  }

  async function requireChild(workspaceId: string, runId: string, childRunId: string): Promise<void> {
    const child = await glance(workspaceId, childRunId);
    if (child === undefined) throw runNotFound(childRunId);
    if (child.run.parentRunId === runId) return;
    throw new SignalboxError(
      "INVALID_STATE",
      `run ${childRunId} is no child of ${runId}, which would never hear of its end; create it with parent_run_id`,
    );
  }

  async function recordedToolCall(
    { workspaceId }: Call,
    runId: string,
    toolCallId: string,
    { key, tool }: StartToolCallRequest,
  ): Promise<RecordedToolCall | undefined> {
    const live = await glance(workspaceId, runId);
    if (live === undefined || live.run.baseRunId === "" || live.toolCalls.has(toolCallId)) return undefined;
    return base.toolCall(workspaceId, live.run, key, tool);
  }

  return {
    async startStep(call, request) {
      const { leaseToken, key, input } = request;
      requireStorable("input", input, limits.maxInputBytes);
      const { runId } = tokens.open(leaseToken, call.workspaceId);
      const step = newStep(derivedId("step", call.workspaceId, runId, key), request);
      const recorded = await recordedStep(call, runId, step);
      return onStep(call, leaseToken, step.stepId, (state, ticket, now) =>
        startStep(state, ticket, step, now, recorded),
      );
    },
    completeStep(call, { leaseToken, stepId, output, usage }) {
      requireStorable("output", output, limits.maxOutputBytes);
      return onStep(call, leaseToken, stepId, (state, ticket) =>
        completeStep(state, ticket, { stepId, output, usage }),
      );
    },
    failStep(call, { leaseToken, stepId, error, usage }) {
      return onStep(call, leaseToken, stepId, (state, ticket) => failStep(state, ticket, { stepId, error, usage }));
    },
    async startToolCall(call, request) {
      const { leaseToken, key } = request;
      requireStorable("arguments", request.arguments, limits.maxInputBytes);
      const { runId } = tokens.open(leaseToken, call.workspaceId);
      const toolCallId = derivedId("tc", call.workspaceId, runId, key);
      const recorded = await recordedToolCall(call, runId, toolCallId, request);
      return onToolCall(call, leaseToken, toolCallId, (state, ticket, now) =>
        startToolCall(state, ticket, toolCallId, request, now, recorded),
      );
    },
    succeedToolCall(call, { leaseToken, toolCallId, result, usage }) {
      requireStorable("result", result, limits.maxOutputBytes);
      return onToolCall(call, leaseToken, toolCallId, (state, ticket) =>
        succeedToolCall(state, ticket, { toolCallId, result, usage }),
      );
    },
    failToolCall(call, { leaseToken, toolCallId, error, usage }) {
      return onToolCall(call, leaseToken, toolCallId, (state, ticket) =>
        failToolCall(state, ticket, { toolCallId, error, usage }),
      );
    },
    reconcileToolCall(call, { leaseToken, toolCallId, result, note }) {
      requireStorable("result", result, limits.maxOutputBytes);
      return onToolCall(call, leaseToken, toolCallId, (state, ticket) =>
        reconcileToolCall(state, ticket, { toolCallId, result, note }),
      );
    },
  };
}
