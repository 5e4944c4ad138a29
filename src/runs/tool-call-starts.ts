import type { StartToolCallRequest } from "../../gen/signalbox/v1/engine_service_pb.ts";
import type { Aggregates } from "../eventlog/aggregates.ts";
import type { LeaseTokens } from "../jobs/lease-token.ts";
import type { Call } from "../kernel/call.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { derivedId } from "../kernel/ids.ts";
import { type Limits, requireStorable } from "../kernel/limits.ts";
import type { BaseRecord } from "./base-record.ts";
import { argumentsDigestOf } from "./gate-context.ts";
import { isAnswered, reuseToolCall, startToolCall } from "./gate-decider.ts";
import type { LiveRun, RunState, ToolCallHead } from "./state.ts";
import type { ToolCallAt } from "./tool-call-answer.ts";
import { type Asking, createToolCallGate, type OpenCall, type ToolCallGateDeps } from "./tool-call-gate.ts";

/** What starts of tool calls need. */
export interface ToolCallStartsDeps extends ToolCallGateDeps {
  readonly aggregates: Aggregates<RunState>;
  readonly base: BaseRecord;
  readonly tokens: LeaseTokens;
  readonly limits: Limits;
}

/** How often a call is looked at because it, its approval or a kill switch has changed meanwhile. */
const maxRounds = 8;

/** StartToolCall: what is on record is answered, everything else has to pass the gate. A repeat mends what broke off. */
export function createToolCallStarts(
  deps: ToolCallStartsDeps,
): (call: Call, request: StartToolCallRequest) => Promise<ToolCallAt> {
  const { aggregates, leased, record, base, tokens, limits, approvals, alarm } = deps;
  const gate = createToolCallGate(deps);

  async function round(asking: Asking): Promise<ToolCallAt | undefined> {
    const { call, lease, toolCallId } = asking;
    const { workspaceId } = call;
    // Whatever is decided on a state that is behind, the log refuses; nothing but a fresh one is good enough for approvals.
    const { state } = aggregates.cached(workspaceId, lease.runId) ?? (await aggregates.load(workspaceId, lease.runId));
    const head = state.status === "absent" ? undefined : state.toolCalls.get(toolCallId);
    if (state.status === "absent" || isAnswered(head)) {
      const answered = await leased.execute(call, lease, (now, at) => startToolCall(now, asking, undefined, at));
      return gate.tell(asking, answered);
    }
    if (head === undefined) {
      const reused = await reuse(asking, state);
      if (reused !== undefined) return reused;
    }
    const open = await look(asking, state, head);
    return open && gate.pass(open);
  }

  async function reuse(asking: Asking, { run }: LiveRun): Promise<ToolCallAt | undefined> {
    const { call, lease, request } = asking;
    if (run.baseRunId === "") return undefined;
    const recorded = await base.toolCall(call.workspaceId, run, request.key, request.tool);
    if (recorded === undefined) return undefined;
    const decided = await leased.execute(call, lease, (state, now) => reuseToolCall(state, asking, recorded, now));
    return gate.tell(asking, decided);
  }

  /** What is known of a call without an answer; undefined when it has one by now. LEASE_LOST, PAYLOAD_MISMATCH. */
  async function look(asking: Asking, live: LiveRun, head: ToolCallHead | undefined): Promise<OpenCall | undefined> {
    const { call, lease, toolCallId, request } = asking;
    // Never held back: nobody else has a part in it.
    if (!head?.askedDigest) return { ...asking, live, head, approval: undefined, payload: request.arguments };
    const { state, subject = "" } = await leased.load(call.workspaceId, lease);
    const fresh = state.toolCalls.get(toolCallId);
    if (fresh === undefined || isAnswered(fresh)) return undefined;
    requireSameArguments(asking, fresh);
    const { approvalId } = fresh.toolCall;
    const approval = approvalId === "" ? undefined : await approvals.find(call.workspaceId, approvalId);
    const payload = approval ? approval.payload : await record.toolCallArguments(subject, fresh);
    return { ...asking, live: state, head: fresh, approval, payload };
  }

  function requireSameArguments({ lease, toolCallId, request }: Asking, { askedDigest }: ToolCallHead): void {
    if (argumentsDigestOf(request.arguments) === askedDigest) return;
    alarm.payloadMismatch(lease.workspaceId, lease.runId, toolCallId);
    throw new SignalboxError(
      "PAYLOAD_MISMATCH",
      `tool call ${toolCallId} was held back with other arguments; make another call for these`,
      { tool_call_id: toolCallId },
    );
  }

  return async (call, request) => {
    const { leaseToken, key } = request;
    requireStorable("arguments", request.arguments, limits.maxInputBytes);
    const lease = tokens.open(leaseToken, call.workspaceId);
    const toolCallId = derivedId("tc", call.workspaceId, lease.runId, key);
    for (let i = 0; i < maxRounds; i++) {
      const answer = await round({ call, lease, toolCallId, request });
      if (answer !== undefined) return answer;
    }
    throw new SignalboxError("CONTENTION", `tool call ${toolCallId} changes again and again; repeat with backoff`);
  };
}
