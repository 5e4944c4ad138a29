import type {
  FailToolCallRequest,
  ReconcileToolCallRequest,
  StartToolCallRequest,
  SucceedToolCallRequest,
} from "../../gen/signalbox/v1/engine_service_pb.ts";
import type { Aggregates, Draft } from "../eventlog/aggregates.ts";
import type { LeaseTicket, LeaseTokens } from "../jobs/lease-token.ts";
import type { Call } from "../kernel/call.ts";
import { type Limits, requireStorable } from "../kernel/limits.ts";
import { runNotFound } from "./decider.ts";
import type { LeasedRuns } from "./leased-runs.ts";
import type { RunRecord } from "./run-record.ts";
import type { RunState } from "./state.ts";
import { answerOf, type ToolCallAt } from "./tool-call-answer.ts";
import { failToolCall, reconcileToolCall, succeedToolCall } from "./tool-call-decider.ts";
import { createToolCallStarts, type ToolCallStartsDeps } from "./tool-call-starts.ts";

/** Tool calls as workers, and people who reconcile, record them. The errors that engine_service.proto names. */
export interface ToolCalls {
  startToolCall(call: Call, request: StartToolCallRequest): Promise<ToolCallAt>;
  succeedToolCall(call: Call, request: SucceedToolCallRequest): Promise<ToolCallAt>;
  failToolCall(call: Call, request: FailToolCallRequest): Promise<ToolCallAt>;
  reconcileToolCall(call: Call, request: ReconcileToolCallRequest): Promise<ToolCallAt>;
}

/** What tool calls need. */
export interface ToolCallsDeps extends ToolCallStartsDeps {
  readonly aggregates: Aggregates<RunState>;
  readonly leased: LeasedRuns;
  readonly record: RunRecord;
  readonly tokens: LeaseTokens;
  readonly limits: Limits;
}

/** Tool calls on a log. */
export function createToolCalls(deps: ToolCallsDeps): ToolCalls {
  const { aggregates, leased, record, tokens, limits } = deps;

  async function onToolCall(
    call: Call,
    leaseToken: string,
    toolCallId: string,
    decide: (state: RunState, ticket: LeaseTicket) => Draft | undefined,
  ): Promise<ToolCallAt> {
    const ticket = tokens.open(leaseToken, call.workspaceId);
    const executed = await leased.execute(call, ticket, (state) => decide(state, ticket));
    return answerOf(record, executed, toolCallId);
  }

  return {
    startToolCall: createToolCallStarts(deps),
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
    async reconcileToolCall(call, { leaseToken, runId, toolCallId, result, note }) {
      requireStorable("result", result, limits.maxOutputBytes);
      const outcome = { toolCallId, result, note };
      if (leaseToken !== "") {
        return onToolCall(call, leaseToken, toolCallId, (state, ticket) => reconcileToolCall(state, ticket, outcome));
      }
      const decide = (state: RunState) => reconcileToolCall(state, { runId }, outcome);
      const loaded = await aggregates.execute({ call, id: runId, decide });
      if (loaded.state.status === "absent") throw runNotFound(runId);
      return answerOf(record, { ...loaded, state: loaded.state }, toolCallId);
    },
  };
}
