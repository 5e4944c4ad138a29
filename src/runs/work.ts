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
import type { RunRecord } from "./run-record.ts";
import type { LiveRun, RunState } from "./state.ts";
import { completeStep, failStep, startStep } from "./step-decider.ts";
import { failToolCall, reconcileToolCall, startToolCall, succeedToolCall } from "./tool-call-decider.ts";

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
  type IdOf = (runId: string) => string;
  type Decide = (state: RunState, ticket: LeaseTicket) => Draft | undefined;

  type Executed = Loaded<LiveRun> & { readonly payload: Event["payload"] | undefined };

  async function execute(call: Call, leaseToken: string, decide: Decide): Promise<Executed> {
    const ticket = tokens.open(leaseToken, call.workspaceId);
    const loaded = await aggregates.execute({ call, id: ticket.runId, decide: (state) => decide(state, ticket) });
    const { state } = loaded;
    if (state.status === "absent") throw new SignalboxError("RUN_NOT_FOUND", `run ${ticket.runId} does not exist`);
    return { ...loaded, state, payload: loaded.recorded?.event.payload };
  }

  /** The step after a command, without its input, which the worker knows. */
  async function onStep(call: Call, leaseToken: string, idOf: IdOf, decide: Decide): Promise<StepAt> {
    const { state, subject = "", position, payload } = await execute(call, leaseToken, decide);
    const head = state.steps.get(idOf(state.run.runId));
    if (head === undefined) throw new SignalboxError("STEP_NOT_FOUND", "the run has no such step; start it first");
    if (payload?.case === "stepCompleted") return { step: { ...head.step, output: payload.value.output }, position };
    if (head.step.status !== StepStatus.COMPLETED) return { step: head.step, position };
    return { step: { ...head.step, output: await record.stepOutput(subject, head) }, position };
  }

  /** The tool call after a command, without its arguments, which the worker knows. */
  async function onToolCall(call: Call, leaseToken: string, idOf: IdOf, decide: Decide): Promise<ToolCallAt> {
    const { state, subject = "", position, payload } = await execute(call, leaseToken, decide);
    const head = state.toolCalls.get(idOf(state.run.runId));
    if (head === undefined)
      throw new SignalboxError("TOOL_CALL_NOT_FOUND", "the run has no such tool call; start it first");
    if (payload?.case === "toolCallSucceeded" || payload?.case === "toolCallReconciled") {
      return { toolCall: { ...head.toolCall, result: payload.value.result }, position };
    }
    const { status } = head.toolCall;
    const done = status === ToolCallStatus.SUCCEEDED || status === ToolCallStatus.RECONCILED;
    const toolCall = done ? { ...head.toolCall, result: await record.toolCallResult(subject, head) } : head.toolCall;
    return { toolCall, position };
  }

  return {
    startStep(call, { leaseToken, key, name, input }) {
      requireStorable("input", input, limits.maxInputBytes);
      const idOf = (runId: string) => derivedId("step", call.workspaceId, runId, key);
      return onStep(call, leaseToken, idOf, (state, ticket) =>
        startStep(state, ticket, { stepId: idOf(ticket.runId), key, name: name || key, input }),
      );
    },
    completeStep(call, { leaseToken, stepId, output, usage }) {
      requireStorable("output", output, limits.maxOutputBytes);
      return onStep(
        call,
        leaseToken,
        () => stepId,
        (state, ticket) => completeStep(state, ticket, { stepId, output, usage }),
      );
    },
    failStep(call, { leaseToken, stepId, error, usage }) {
      return onStep(
        call,
        leaseToken,
        () => stepId,
        (state, ticket) => failStep(state, ticket, { stepId, error, usage }),
      );
    },
    startToolCall(call, request) {
      requireStorable("arguments", request.arguments, limits.maxInputBytes);
      const idOf = (runId: string) => derivedId("tc", call.workspaceId, runId, request.key);
      return onToolCall(call, request.leaseToken, idOf, (state, ticket) =>
        startToolCall(state, ticket, idOf(ticket.runId), request),
      );
    },
    succeedToolCall(call, { leaseToken, toolCallId, result, usage }) {
      requireStorable("result", result, limits.maxOutputBytes);
      return onToolCall(
        call,
        leaseToken,
        () => toolCallId,
        (state, ticket) => succeedToolCall(state, ticket, { toolCallId, result, usage }),
      );
    },
    failToolCall(call, { leaseToken, toolCallId, error, usage }) {
      return onToolCall(
        call,
        leaseToken,
        () => toolCallId,
        (state, ticket) => failToolCall(state, ticket, { toolCallId, error, usage }),
      );
    },
    reconcileToolCall(call, { leaseToken, toolCallId, result, note }) {
      requireStorable("result", result, limits.maxOutputBytes);
      return onToolCall(
        call,
        leaseToken,
        () => toolCallId,
        (state, ticket) => reconcileToolCall(state, ticket, { toolCallId, result, note }),
      );
    },
  };
}
