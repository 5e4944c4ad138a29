import { create } from "@bufbuild/protobuf";
import type { Value } from "@bufbuild/protobuf/wkt";
import { type Approval, ApprovalStatus } from "../../gen/signalbox/v1/approval_pb.ts";
import type { ConsumeApprovalRequest, RequestApprovalRequest } from "../../gen/signalbox/v1/approval_service_pb.ts";
import type { Principal } from "../../gen/signalbox/v1/common_pb.ts";
import { type Action, ActionSchema, Decision, type PolicyDecision } from "../../gen/signalbox/v1/policy_pb.ts";
import { type Step, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import type { LeaseTicket, LeaseTokens } from "../jobs/lease-token.ts";
import type { Call } from "../kernel/call.ts";
import { hasReason, SignalboxError } from "../kernel/errors.ts";
import { type Limits, requireStorable } from "../kernel/limits.ts";
import { requesterOf, workerOf } from "./acting.ts";
import type { Alarm, ApprovalAt, ApprovalDesk, Gate } from "./gate.ts";
import { argumentsDigestOf, contextOf, isKill } from "./gate-context.ts";
import type { LeasedRuns } from "./leased-runs.ts";
import type { LiveRun } from "./state.ts";
import { askInStep, requireApprovalStep, stepStopped, stopStep, stricterTerms } from "./step-approval-decider.ts";
import { stepApprovalId } from "./step-request.ts";

/** What the steps of runs do with approvals, under the lease of the run. */
export interface StepApprovals {
  /** Asks people. The errors of ApprovalService.RequestApproval. */
  request(call: Call, request: RequestApprovalRequest): Promise<ApprovalAt>;
  /** Uses what was approved. The errors of ApprovalService.ConsumeApproval. */
  consume(call: Call, request: ConsumeApprovalRequest): Promise<ApprovalAt>;
}

/** What the approvals of steps need. */
export interface StepApprovalsDeps {
  readonly leased: LeasedRuns;
  readonly tokens: LeaseTokens;
  readonly limits: Limits;
  readonly gate: Gate;
  readonly approvals: ApprovalDesk;
  readonly alarm: Alarm;
}

/** A step that asks, under which lease. */
interface Asking {
  readonly call: Call;
  readonly lease: LeaseTicket;
  readonly live: LiveRun;
  readonly step: Step;
}

/** How often a step is looked at because its approval is void. */
const maxRounds = 8;

/** The approvals that steps of STEP_KIND_APPROVAL ask for. */
export function createStepApprovals(deps: StepApprovalsDeps): StepApprovals {
  const { leased, tokens, limits, gate, approvals, alarm } = deps;

  async function askOnce(asking: Asking, request: RequestApprovalRequest): Promise<ApprovalAt | undefined> {
    const { call, live, step } = asking;
    const { approvalId, stepId } = step;
    const number = numberOf(call.workspaceId, step);
    const [approval, before] = await Promise.all([
      approvals.find(call.workspaceId, approvalId),
      number === 1 ? undefined : approvals.find(call.workspaceId, stepApprovalId(call.workspaceId, stepId, number - 1)),
    ]);
    const action = wantedAction(request);
    const known = approval ?? before;
    if (known) requireSame(asking, known, action, request.payload);
    if (approval && isOver(approval)) return { approval, position: approval.position };
    // What people have edited stays so when they are asked anew.
    const payload = known ? known.payload : request.payload;
    const decision = await gate.judge(call.workspaceId, contextOf(live.run, action, payload));
    if (approval && (await isValid(asking, approval, decision))) return { approval, position: approval.position };
    if (isKill(decision)) return stopped(asking);
    requirePermitted(decision);
    if (approval === undefined) return ask(asking, request, { payload, decision, editedBy: before?.editedBy });
    await approvals.cancel(workerCall(asking), approvalId, "the step asks anew");
    const next = stepApprovalId(call.workspaceId, stepId, number + 1);
    await leased.execute(call, asking.lease, (state) => askInStep(state, asking.lease, stepId, next));
    return undefined;
  }

  /** Whether it still counts: not canceled, asked for under the present policy, and not used behind the flip of a kill switch. */
  async function isValid(asking: Asking, approval: Approval, { policyHash }: PolicyDecision): Promise<boolean> {
    if (await isBehindFlip(asking.call, approval)) return false;
    if (isTold(asking, approval)) return true;
    return approval.status !== ApprovalStatus.CANCELED && approval.policyHash === policyHash;
  }

  async function isBehindFlip({ workspaceId }: Call, { action, consumption }: Approval): Promise<boolean> {
    if (action?.effect !== ToolEffect.EXTERNAL_WRITE || consumption === undefined) return false;
    return (await gate.externalWrites(workspaceId)).stoppedAt(consumption.position);
  }

  function ask(
    asking: Asking,
    { message, terms }: RequestApprovalRequest,
    asked: { payload: Value | undefined; decision: PolicyDecision; editedBy: Principal | undefined },
  ): Promise<ApprovalAt> {
    const { decision } = asked;
    const { live, step } = asking;
    const { runId, agentId, roomId, threadId, zone } = live.run;
    return approvals.request(workerCall(asking), {
      runId,
      toolCallId: "",
      stepId: step.stepId,
      agentId,
      roomId,
      threadId,
      zone,
      approvalId: step.approvalId,
      ...asked,
      decision: {
        ...decision,
        message: message === "" ? decision.message : message,
        terms: stricterTerms(decision.terms, terms),
      },
      requestedBy: requesterOf(live.run),
    });
  }

  async function stopped({ call, lease, step }: Asking): Promise<never> {
    const { state } = await leased.execute(call, lease, (before) => stopStep(before, lease, step.stepId));
    throw stepStopped(state.steps.get(step.stepId)?.step ?? step);
  }

  function requireSame({ lease, step }: Asking, approval: Approval, action: Action, payload: Value | undefined): void {
    const same =
      approval.action?.type === action.type &&
      approval.action.target === action.target &&
      // What people have edited is not what was asked for.
      (approval.edited || argumentsDigestOf(approval.payload) === argumentsDigestOf(payload));
    if (same) return;
    alarm.payloadMismatch(lease.workspaceId, lease.runId, step.stepId);
    throw new SignalboxError("PAYLOAD_MISMATCH", `step ${step.stepId} has asked for something else; use another step`, {
      step_id: step.stepId,
      approval_id: approval.approvalId,
    });
  }

  async function use(asking: Asking, approval: Approval): Promise<ApprovalAt> {
    const { live, lease, step } = asking;
    const { runId } = live.run;
    const { action, policyHash } = await permit(asking, approval);
    const { approvalId, payloadDigest } = approval;
    const used = await approvals
      .consume(workerCall(asking), {
        approvalId,
        runId,
        toolCallId: "",
        stepId: step.stepId,
        leaseId: lease.leaseId,
        action,
        policyHash,
      })
      .catch((error: unknown) => {
        if (hasReason(error, "PAYLOAD_MISMATCH")) alarm.payloadMismatch(lease.workspaceId, runId, step.stepId);
        throw error;
      });
    // What is done is what was judged.
    if (used.approval.payloadDigest !== payloadDigest) await permit(asking, used.approval);
    return used;
  }

  /** The decision that lets it be done. POLICY_DENIED, KILL_SWITCH_ON. */
  async function permit(asking: Asking, { action, payload }: Approval): Promise<PolicyDecision> {
    const context = contextOf(asking.live.run, action ?? create(ActionSchema), payload);
    const decision = await gate.judge(asking.call.workspaceId, context);
    if (isKill(decision)) return stopped(asking);
    requirePermitted(decision);
    return decision;
  }

  return {
    async request(call, request) {
      requireStorable("payload", request.payload, limits.maxInputBytes);
      const lease = tokens.open(request.leaseToken, call.workspaceId);
      for (let i = 0; i < maxRounds; i++) {
        const { state: live } = await leased.load(call.workspaceId, lease);
        const step = requireApprovalStep(live, request.stepId);
        const asked = await askOnce({ call, lease, live, step }, request);
        if (asked !== undefined) return asked;
      }
      throw new SignalboxError("CONTENTION", `the approvals of step ${request.stepId} change again and again; repeat`);
    },
    async consume(call, { leaseToken, approvalId }) {
      const lease = tokens.open(leaseToken, call.workspaceId);
      const { state: live } = await leased.load(call.workspaceId, lease);
      const owner = [...live.steps.values()].find(({ step }) => step.approvalId === approvalId)?.step;
      const approval = owner && (await approvals.find(call.workspaceId, approvalId));
      if (owner === undefined || approval === undefined) throw notFound(approvalId);
      const asking = { call, lease, live, step: requireApprovalStep(live, owner.stepId) };
      const used = isTold(asking, approval) ? { approval, position: approval.position } : await use(asking, approval);
      if (await isBehindFlip(call, used.approval)) return stopped(asking);
      // Whoever is told to go has the lease, and had it when the approval was used.
      await leased.load(call.workspaceId, lease);
      return used;
    },
  };
}

function workerCall({ call, live }: Asking): Call {
  return { ...call, principal: workerOf(call.principal, live.run) };
}

/** True when this lease has used it: the answer may have been lost. Whoever has the run now is judged by what holds now. */
function isTold({ lease }: Asking, { consumption }: Approval): boolean {
  return consumption?.leaseId === lease.leaseId;
}

/** What is asked for; what does not say how far it reaches reaches outside. */
function wantedAction({ action }: RequestApprovalRequest): Action {
  const { type = "", target = "", effect, reversible = false, idempotent = false } = action ?? {};
  return create(ActionSchema, { type, target, effect: effect || ToolEffect.EXTERNAL_WRITE, reversible, idempotent });
}

/** Denied or expired: nobody is asked again. */
function isOver({ status }: Approval): boolean {
  return status === ApprovalStatus.DENIED || status === ApprovalStatus.EXPIRED;
}

/** Which of its approvals the step asks for, from 1. */
function numberOf(workspaceId: string, { stepId, approvalId }: Step): number {
  let number = 1;
  while (stepApprovalId(workspaceId, stepId, number) !== approvalId) {
    if (number++ > 10_000) throw new Error(`${approvalId} is no approval of step ${stepId}`);
  }
  return number;
}

function requirePermitted({ decision, message, reasonCodes, matchedRule }: PolicyDecision): void {
  if (decision === Decision.ALLOW || decision === Decision.REQUIRE_APPROVAL) return;
  const why = { reason_codes: reasonCodes.join(","), matched_rule: matchedRule };
  throw new SignalboxError("POLICY_DENIED", message, why);
}

function notFound(approvalId: string): SignalboxError {
  return new SignalboxError("APPROVAL_NOT_FOUND", `approval ${approvalId} is not one of this run's steps`);
}
