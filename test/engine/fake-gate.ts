import { create } from "@bufbuild/protobuf";
import type { Value } from "@bufbuild/protobuf/wkt";
import { type Approval, ApprovalSchema, ApprovalStatus } from "../../gen/signalbox/v1/approval_pb.ts";
import {
  PauseReason,
  PauseSchema,
  type Run,
  RunErrorSchema,
  RunStatus,
  StepStatus,
  type ToolCall,
  ToolCallSchema,
  ToolCallStatus,
  type ToolEffect,
} from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue } from "../../src/client/json.ts";
import type { Reason } from "../../src/kernel/errors.ts";
import { type FakeLog, type FakeRun, refusal } from "./fake-run.ts";

/** What the policy of the fake says to an action. */
export type Verdict = "allow" | "deny" | "ask";

/** Policy, approvals and a kill switch, as the contract has them. */
export interface FakeGate {
  /** Every approval that was asked for, in order. */
  readonly approvals: Approval[];
  /** The policy, default that everything is allowed. */
  judge: (action: { readonly type: string; readonly effect: ToolEffect }) => Verdict;
  /** Told of each approval that is asked for. */
  onAsk: (approval: Approval) => void;
  /** True while external writes are stopped. */
  stopped: boolean;
  /** Approves, with another payload when one is given. Without an approval, the newest. */
  approve(approval?: Approval, payload?: Parameters<typeof jsonValue>[0]): void;
  end(status: ApprovalStatus, approval?: Approval): void;
  /** Throws unless the call may be started; the approved arguments when people were asked. */
  pass(
    own: FakeRun,
    request: Asked,
    earlier: ToolCall | undefined,
  ): Pick<ToolCall, "arguments" | "approvalId"> | undefined;
  /** The approval of a step. */
  request(own: FakeRun, stepId: string, action: Approval["action"], payload: Value | undefined): Approval;
  consume(own: FakeRun, approvalId: string): Approval;
  /** True when a run that waits for it goes on. */
  isDecided(approvalId: string): boolean;
}

/** What a worker wants to call. */
interface Asked {
  readonly key: string;
  readonly tool: string;
  readonly effect: ToolEffect;
  readonly sequence: number;
  readonly arguments?: Value | undefined;
}

const open: ReadonlySet<ApprovalStatus> = new Set([ApprovalStatus.PENDING, ApprovalStatus.HELD]);

const ends: Partial<Record<ApprovalStatus, { reason: Reason; message: string }>> = {
  [ApprovalStatus.DENIED]: { reason: "APPROVAL_DENIED", message: "user:alice has denied it: too dear" },
  [ApprovalStatus.EXPIRED]: { reason: "APPROVAL_EXPIRED", message: "nobody has approved it in time" },
};

/** Allows everything. `onDecision` is told of each end of an approval. */
export function createFakeGate(log: FakeLog, onDecision: (approval: Approval) => void): FakeGate {
  const approvals: Approval[] = [];

  function ask(own: FakeRun, of: Partial<Approval>): Approval {
    const approvalId = `appr_${approvals.length + 1}`;
    const { runId } = own.run;
    const approval = create(ApprovalSchema, { approvalId, runId, status: ApprovalStatus.PENDING, ...of } as never);
    approvals.push(approval);
    log.next();
    gate.onAsk(approval);
    return approval;
  }

  function newest(matches: (approval: Approval) => boolean): Approval | undefined {
    return approvals.findLast(matches);
  }

  function chosen(approval: Approval | undefined): Approval {
    const found = approval ?? newest(({ status }) => open.has(status));
    if (found === undefined) throw new Error("nobody has asked for an approval");
    return found;
  }

  /** The call as it is on record while it is not started. */
  function record(own: FakeRun, asked: Asked, earlier: ToolCall | undefined, change: Partial<ToolCall>): bigint {
    const position = log.next();
    const call = earlier ?? create(ToolCallSchema, { requestPosition: position });
    const { key, tool, effect, sequence, arguments: given } = asked;
    const own_ = { toolCallId: `tc_${key}`, runId: own.run.runId, key, tool, effect, sequence, arguments: given };
    own.toolCalls.set(key, { ...call, ...own_, position, ...change });
    return position;
  }

  function denied(own: FakeRun, asked: Asked, earlier: ToolCall | undefined, reason: Reason, message: string): Error {
    const error = create(RunErrorSchema, { code: reason, message });
    const position = record(own, asked, earlier, { status: ToolCallStatus.DENIED, error });
    return refusal(reason, message, { position: String(position), tool_call_id: `tc_${asked.key}` });
  }

  function required(asked: Asked, { approvalId }: Approval, position: bigint): Error {
    const metadata = { approval_id: approvalId, tool_call_id: `tc_${asked.key}`, position: String(position) };
    return refusal("APPROVAL_REQUIRED", `people have to approve ${approvalId}`, metadata);
  }

  const isExternalWrite = (effect: ToolEffect) => effect === 3;

  const gate: FakeGate = {
    approvals,
    judge: () => "allow",
    onAsk: () => {},
    stopped: false,
    approve(approval, payload) {
      const found = chosen(approval);
      if (payload !== undefined) Object.assign(found, { payload: jsonValue(payload), edited: true });
      gate.end(ApprovalStatus.APPROVED, found);
    },
    end(status, approval) {
      const found = chosen(approval);
      found.status = status;
      onDecision(found);
    },
    pass(own, asked, earlier) {
      if (earlier?.status === ToolCallStatus.DENIED) {
        const { code = "", message = "" } = earlier.error ?? {};
        throw refusal(code as Reason, message, { position: String(earlier.position) });
      }
      const before = newest(({ approvalId }) => approvalId === earlier?.approvalId);
      if (earlier?.status === ToolCallStatus.GATED && before !== undefined) {
        if (open.has(before.status)) throw required(asked, before, earlier.position);
        const end = ends[before.status];
        if (end !== undefined) throw denied(own, asked, earlier, end.reason, end.message);
      }
      if (gate.stopped && isExternalWrite(asked.effect)) {
        const status = ToolCallStatus.GATED;
        record(own, asked, earlier, { status, stopPosition: log.next(), approvalId: earlier?.approvalId ?? "" });
        throw refusal("KILL_SWITCH_ON", "external writes are stopped");
      }
      const verdict = gate.judge({ type: asked.tool, effect: asked.effect });
      if (verdict === "deny") throw denied(own, asked, earlier, "POLICY_DENIED", "not in this house");
      if (verdict === "allow") return undefined;
      if (earlier?.status === ToolCallStatus.GATED && before?.status === ApprovalStatus.APPROVED) {
        before.status = ApprovalStatus.CONSUMED;
        return { arguments: before.payload, approvalId: before.approvalId };
      }
      const approval = ask(own, { toolCallId: `tc_${asked.key}`, payload: before?.payload ?? asked.arguments });
      const status = ToolCallStatus.GATED;
      throw required(asked, approval, record(own, asked, earlier, { status, approvalId: approval.approvalId }));
    },
    request(own, stepId, action, payload) {
      if (gate.stopped) throw stepStopped(own, stepId);
      if (gate.judge({ type: action?.type ?? "", effect: action?.effect ?? 0 }) === "deny") {
        throw refusal("POLICY_DENIED", "not in this house");
      }
      const found = newest((each) => each.stepId === stepId && each.runId === own.run.runId);
      if (found === undefined || found.status === ApprovalStatus.CANCELED) {
        return ask(own, { stepId, action, payload: found?.payload ?? payload });
      }
      return found;
    },
    consume(own, approvalId) {
      const found = newest((each) => each.approvalId === approvalId && each.runId === own.run.runId);
      if (found === undefined) throw refusal("APPROVAL_NOT_FOUND", "no such approval");
      if (open.has(found.status)) throw refusal("APPROVAL_REQUIRED", "not decided", { approval_id: approvalId });
      if (gate.stopped) throw stepStopped(own, found.stepId);
      const end = ends[found.status];
      if (end !== undefined) throw refusal(end.reason, end.message, { approval_id: approvalId });
      if (found.status === ApprovalStatus.CANCELED) throw refusal("INVALID_STATE", "the policy has changed");
      found.status = ApprovalStatus.CONSUMED;
      return found;
    },
    isDecided: (approvalId) => !open.has(newest((each) => each.approvalId === approvalId)?.status ?? 0),
  };
  return gate;
}

/** step.failed, and the error of whoever asked. */
function stepStopped(own: FakeRun, stepId: string): Error {
  const step = [...own.steps.values()].find((each) => each.stepId === stepId);
  const error = create(RunErrorSchema, {
    code: "KILL_SWITCH_ON",
    message: "external writes are stopped",
    retryable: true,
  });
  if (step !== undefined) Object.assign(step, { status: StepStatus.FAILED, error });
  return refusal("KILL_SWITCH_ON", error.message);
}

/** The run standing still, when a kill switch has stopped one of its calls. */
export function stopOf(own: FakeRun): Pick<Run, "status" | "pause"> | undefined {
  const isStopped = [...own.toolCalls.values()].some(
    ({ status, stopPosition }) => status === ToolCallStatus.GATED && stopPosition > 0n,
  );
  const isStepStopped = [...own.steps.values()].some(
    ({ status, error }) => status === StepStatus.FAILED && error?.code === "KILL_SWITCH_ON",
  );
  if (!isStopped && !isStepStopped) return undefined;
  return { status: RunStatus.PAUSED, pause: create(PauseSchema, { reason: PauseReason.KILL_SWITCH }) };
}
