import { equals } from "@bufbuild/protobuf";
import { timestampMs, type Value } from "@bufbuild/protobuf/wkt";
import { type Approval, ApprovalStatus, ApprovalVerdict } from "../../gen/signalbox/v1/approval_pb.ts";
import type { Principal } from "../../gen/signalbox/v1/common_pb.ts";
import { ActionSchema, Decision, type PolicyDecision } from "../../gen/signalbox/v1/policy_pb.ts";
import { ToolCallStatus, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import type { LeaseTicket } from "../jobs/lease-token.ts";
import type { Call } from "../kernel/call.ts";
import { hasReason, SignalboxError } from "../kernel/errors.ts";
import { derivedId } from "../kernel/ids.ts";
import { principalName } from "../kernel/principal.ts";
import { requesterOf, workerOf } from "./acting.ts";
import type { Alarm, ApprovalDesk, Gate } from "./gate.ts";
import { actionOf, contextOf, isKill } from "./gate-context.ts";
import {
  type Asked,
  denyToolCall,
  holdToolCall,
  isAnswered,
  type Judged,
  type Permit,
  type Refusal,
  refusalOf,
  revokeStart,
  startToolCall,
  stopToolCall,
} from "./gate-decider.ts";
import type { Executed, LeasedRuns } from "./leased-runs.ts";
import type { RunRecord } from "./run-record.ts";
import type { LiveRun, RunState, ToolCallHead } from "./state.ts";
import { repeatable } from "./tool-call.ts";
import { answerOf, type ToolCallAt } from "./tool-call-answer.ts";

/** A call, as a worker asks for it. */
export interface Asking extends Asked {
  readonly call: Call;
  readonly lease: LeaseTicket;
}

/** A call that has no answer yet, with what is known of it. */
export interface OpenCall extends Asking {
  readonly live: LiveRun;
  /** Undefined when it is asked for the first time. */
  readonly head: ToolCallHead | undefined;
  /** The approval that it waits for, or that its last start has used; undefined when there is none. */
  readonly approval: Approval | undefined;
  /** What it is to be made with: the payload of the approval, edits included, else what its worker says. */
  readonly payload: Value | undefined;
}

/**
 * What stands between a call and its start. Functions return undefined when something has changed meanwhile, so that the call
 * has to be looked at anew, and throw the errors that StartToolCall names.
 */
export interface ToolCallGate {
  /** Asks the policy, and people if the policy says so. */
  pass(open: OpenCall): Promise<ToolCallAt | undefined>;
  /** What the worker is told about a call after a command: to go only when no kill switch was on at its start. */
  tell(asking: Asking, executed: Executed): Promise<ToolCallAt | undefined>;
}

/** What the gate of tool calls needs. */
export interface ToolCallGateDeps {
  readonly leased: LeasedRuns;
  readonly record: RunRecord;
  readonly gate: Gate;
  readonly approvals: ApprovalDesk;
  readonly alarm: Alarm;
}

/** The gate of tool calls. */
export function createToolCallGate({ leased, record, gate, approvals, alarm }: ToolCallGateDeps): ToolCallGate {
  function execute({ call, lease }: Asking, decide: (state: RunState, now: Date) => Draft | undefined) {
    return leased.execute(call, lease, decide);
  }

  async function pass(open: OpenCall): Promise<ToolCallAt | undefined> {
    const { call, live, request, head, approval, payload } = open;
    const waiting = head?.toolCall.status === ToolCallStatus.GATED ? approval : undefined;
    const position = head?.toolCall.position ?? 0n;
    const refusal = waiting && refusalBy(waiting);
    if (refusal) return deny(open, { ...refusal, decision: undefined, arguments: payload, position });
    const decision = await gate.judge(call.workspaceId, contextOf(live.run, actionOf(request), payload));
    const judged = { decision, arguments: payload, position };
    if (isKill(decision)) return stop(open, judged);
    if (!allows(decision) && !asks(decision)) {
      await cancel(open, "the policy denies the call");
      return deny(open, { ...judged, code: "POLICY_DENIED", message: decision.message, approvalId: "" });
    }
    if (waiting && waiting.status !== ApprovalStatus.CANCELED && waiting.policyHash === decision.policyHash) {
      requireSameAction(open, waiting, decision);
      return byApproval(open, judged, waiting);
    }
    // What was approved may be done again where doing it twice is doing it once, as long as the rules are the same.
    const again =
      head && !waiting && repeatable(head.toolCall) && approval !== undefined && isAbout(approval, decision);
    if (allows(decision) || again) {
      await cancel(open, "the policy allows the call");
      return start(open, { ...judged, approval: again ? approval : undefined });
    }
    return ask(open, judged, decision);
  }

  async function byApproval(open: OpenCall, judged: Judged, approval: Approval): Promise<ToolCallAt | undefined> {
    // Used already: the server that was about to start the call did not come to it.
    if (approval.status === ApprovalStatus.CONSUMED) return startUsed(open, judged, approval);
    if (approval.status === ApprovalStatus.APPROVED) return use(open, judged, approval);
    throw approvalRequired(open, approval);
  }

  async function use(open: OpenCall, judged: Judged, approval: Approval): Promise<ToolCallAt | undefined> {
    const { lease, toolCallId, live } = open;
    const { approvalId, payloadDigest } = approval;
    const { runId } = live.run;
    const { action, policyHash = "" } = judged.decision ?? {};
    const used = await approvals
      .consume(workerCall(open), { ...lease, approvalId, runId, toolCallId, stepId: "", action, policyHash })
      .catch((error: unknown) => {
        if (hasReason(error, "PAYLOAD_MISMATCH")) alarm.payloadMismatch(lease.workspaceId, lease.runId, toolCallId);
        if (hasReason(error, "APPROVAL_EXPIRED")) return "expired" as const;
        // Canceled since it was looked at.
        if (hasReason(error, "INVALID_STATE")) return undefined;
        throw error;
      });
    if (used === "expired") return deny(open, { ...judged, ...expired(approvalId), decision: undefined });
    // What was judged is what is done, or it is judged anew.
    if (used?.approval.payloadDigest !== payloadDigest) return undefined;
    return startUsed(open, { ...judged, arguments: used.approval.payload }, approval);
  }

  /** With an approval that was used for this start: one that has lapsed since, because nobody came to start the call, is over. */
  async function startUsed(open: OpenCall, judged: Judged, approval: Approval): Promise<ToolCallAt | undefined> {
    const lapsed: Refusal = { ...judged, ...expired(approval.approvalId), decision: undefined };
    const executed = await execute(open, (state, now) =>
      approval.expireTime && timestampMs(approval.expireTime) <= now.getTime()
        ? denyToolCall(state, open, lapsed, now)
        : startToolCall(state, open, { ...judged, approval }, now),
    );
    requireNotDenied(open, executed);
    return tell(open, executed);
  }

  async function ask(open: OpenCall, judged: Judged, decision: PolicyDecision): Promise<ToolCallAt | undefined> {
    const { call, live, toolCallId, head, approval, payload } = open;
    const { runId, agentId, roomId, threadId, zone } = live.run;
    // Held back, but nobody was asked: that is where the last try ended.
    const promised =
      approval === undefined && head?.toolCall.status === ToolCallStatus.GATED && head.toolCall.approvalId;
    const count = String((head?.toolCall.gateCount ?? 0) + 1);
    const approvalId = promised || derivedId("appr", call.workspaceId, toolCallId, count);
    if (!promised) {
      await cancel(open, "the call asks anew");
      const { recorded } = await execute(open, (state, now) =>
        holdToolCall(state, open, { ...judged, approvalId }, now),
      );
      if (recorded === undefined) return undefined;
    }
    const by = { requestedBy: requesterOf(live.run), editedBy: await editorOf(open) };
    const place = { runId, toolCallId, stepId: "", agentId, roomId, threadId, zone };
    const asked = await approvals.request(workerCall(open), { ...place, approvalId, payload, decision, ...by });
    const { status } = asked.approval;
    if (status !== ApprovalStatus.PENDING && status !== ApprovalStatus.HELD) return undefined;
    throw approvalRequired(open, asked.approval);
  }

  /** Who wrote what the call is to be made with, when people were asked before; undefined for the run itself. */
  async function editorOf({ call, toolCallId, approval, head }: OpenCall): Promise<Principal | undefined> {
    let newest = approval;
    // The call is held back, but nobody was asked yet, or a kill switch came between: the approval before is not named any more.
    for (let n = head?.toolCall.gateCount ?? 0; n > 0 && newest === undefined; n--) {
      newest = await approvals.find(call.workspaceId, derivedId("appr", call.workspaceId, toolCallId, String(n)));
    }
    return newest?.editedBy;
  }

  async function start(open: OpenCall, permit: Permit): Promise<ToolCallAt | undefined> {
    return tell(open, await execute(open, (state, now) => startToolCall(state, open, permit, now)));
  }

  async function tell(asking: Asking, executed: Executed): Promise<ToolCallAt | undefined> {
    const { call, toolCallId } = asking;
    const head = executed.state.toolCalls.get(toolCallId);
    if (head === undefined || !isAnswered(head)) return undefined;
    const { status, effect, lastStartPosition } = head.toolCall;
    if (status === ToolCallStatus.STARTED && effect === ToolEffect.EXTERNAL_WRITE) {
      const writes = await gate.externalWrites(call.workspaceId);
      if (writes.stoppedAt(lastStartPosition)) return revoke(asking, executed, head);
    }
    const answer = await answerOf(record, executed, toolCallId);
    if (status !== ToolCallStatus.STARTED || head.askedDigest === "") return answer;
    return { ...answer, toolCall: { ...answer.toolCall, arguments: await argumentsOf(executed, head) } };
  }

  /** Takes a start back that stands behind the flip of a kill switch. Nobody was told of it. */
  async function revoke(asking: Asking, executed: Executed, head: ToolCallHead): Promise<undefined> {
    const { call, request } = asking;
    const given = await argumentsOf(executed, head);
    const context = contextOf(executed.state.run, actionOf(request), given);
    const decision = await gate.judge(call.workspaceId, { ...context, externalWritesStopped: true });
    const judged = { decision, arguments: given, position: head.toolCall.position };
    await execute(asking, (state) => revokeStart(state, asking, judged));
  }

  function argumentsOf({ subject = "", recorded }: Executed, head: ToolCallHead): Promise<Value | undefined> {
    const payload = recorded?.event.payload;
    if (payload?.case === "toolCallStarted") return Promise.resolve(payload.value.arguments);
    return record.toolCallArguments(subject, head);
  }

  async function stop(open: OpenCall, judged: Judged): Promise<undefined> {
    const { toolCallId } = open;
    const { state, position } = await execute(open, (before, now) => stopToolCall(before, open, judged, now));
    if (!state.lease?.stops.has(toolCallId)) return undefined;
    throw new SignalboxError(
      "KILL_SWITCH_ON",
      `external writes are stopped; tool call ${toolCallId} is held back, give the run back with ReleaseRun`,
      { tool_call_id: toolCallId, position: String(position), kill_epoch: String(judged.decision?.killEpoch ?? 0n) },
    );
  }

  async function deny(open: OpenCall, refusal: Refusal): Promise<undefined> {
    requireNotDenied(open, await execute(open, (before, now) => denyToolCall(before, open, refusal, now)));
  }

  function requireNotDenied({ toolCallId }: OpenCall, { state }: Executed): void {
    const call = state.toolCalls.get(toolCallId)?.toolCall;
    if (call?.status === ToolCallStatus.DENIED) throw refusalOf(call);
  }

  /** Who has approved that a letter is sent has not approved that money is, whatever the call's key and arguments. */
  function requireSameAction({ lease, toolCallId }: OpenCall, approval: Approval, decision: PolicyDecision): void {
    if (isAbout(approval, decision)) return;
    alarm.payloadMismatch(lease.workspaceId, lease.runId, toolCallId);
    throw new SignalboxError(
      "PAYLOAD_MISMATCH",
      `tool call ${toolCallId} was held back as another action (tool, target, effect); make another call for this one`,
      { tool_call_id: toolCallId, approval_id: approval.approvalId },
    );
  }

  /** Nobody needs the approval that the call waits for any more. One that its last start has used is gone anyway. */
  async function cancel(open: OpenCall, reason: string): Promise<void> {
    const { approval, head } = open;
    if (approval && head?.toolCall.status === ToolCallStatus.GATED) {
      await approvals.cancel(workerCall(open), approval.approvalId, reason);
    }
  }

  return { pass, tell };
}

function workerCall({ call, live }: OpenCall): Call {
  return { ...call, principal: workerOf(call.principal, live.run) };
}

/** True for an approval that was asked for under the present policy, for the very action that it has judged. */
function isAbout({ action, policyHash }: Approval, decision: PolicyDecision): boolean {
  if (policyHash !== decision.policyHash || action === undefined || decision.action === undefined) return false;
  return equals(ActionSchema, action, decision.action);
}

function allows({ decision }: PolicyDecision): boolean {
  return decision === Decision.ALLOW;
}

function asks({ decision }: PolicyDecision): boolean {
  return decision === Decision.REQUIRE_APPROVAL;
}

/** Why an approval ends the call that waits for it; undefined while it does not. */
function refusalBy({
  approvalId,
  status,
  decisions,
}: Approval): Pick<Refusal, "code" | "message" | "approvalId"> | undefined {
  if (status === ApprovalStatus.EXPIRED) return expired(approvalId);
  if (status !== ApprovalStatus.DENIED) return undefined;
  const denial = decisions.findLast(({ verdict }) => verdict === ApprovalVerdict.DENY);
  const by = denial?.decideBy ? principalName(denial.decideBy) : "somebody";
  const why = denial?.comment ? `: ${denial.comment}` : "";
  return { code: "APPROVAL_DENIED", message: `${by} has denied it${why}`, approvalId };
}

function expired(approvalId: string): Pick<Refusal, "code" | "message" | "approvalId"> {
  return { code: "APPROVAL_EXPIRED", message: "nobody has approved it in time", approvalId };
}

function approvalRequired({ toolCallId }: OpenCall, { approvalId, position }: Approval): SignalboxError {
  return new SignalboxError(
    "APPROVAL_REQUIRED",
    `tool call ${toolCallId} waits for ${approvalId}; suspend the run until it is decided, and ask again`,
    { approval_id: approvalId, tool_call_id: toolCallId, position: String(position) },
  );
}
