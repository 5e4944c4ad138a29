import type { Value } from "@bufbuild/protobuf/wkt";
import type { Approval } from "../../gen/signalbox/v1/approval_pb.ts";
import type { Principal, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import type { Action, PolicyContext, PolicyDecision } from "../../gen/signalbox/v1/policy_pb.ts";
import type { Call } from "../kernel/call.ts";

/** Whether external writes are stopped. */
export interface ExternalWrites {
  readonly stopped: boolean;
  /** Position of the newest flip of a switch that holds for the workspace; 0 for none. */
  readonly epoch: bigint;
  /** Whether they were stopped at a place in the log, the newest flips included. */
  stoppedAt(position: bigint): boolean;
}

/** What says whether a run may act. */
export interface Gate {
  /**
   * What the present policy says, kill switches included, on state that the log's leader has confirmed. A context that says
   * that external writes are stopped is judged so, even when they are not any more. STORE_UNAVAILABLE.
   */
  judge(workspaceId: string, context: PolicyContext): Promise<PolicyDecision>;
  /** The switches as the log's leader has them. STORE_UNAVAILABLE. */
  externalWrites(workspaceId: string): Promise<ExternalWrites>;
  /** The switches as this process has seen them: for heartbeats, which decide nothing. */
  seenExternalWrites(workspaceId: string): Promise<ExternalWrites>;
}

/** What people are asked. */
export interface NewApproval {
  readonly approvalId: string;
  readonly runId: string;
  /** Empty when a step asks. */
  readonly toolCallId: string;
  /** Empty when a tool call asks. */
  readonly stepId: string;
  readonly agentId: string;
  readonly roomId: string;
  readonly threadId: string;
  readonly zone: Zone;
  readonly payload: Value | undefined;
  /** What the policy said, with the action as it was judged and the terms. */
  readonly decision: PolicyDecision;
  readonly requestedBy: Principal;
  /** Who wrote the payload, in the place of what the run wanted, when people were asked before; undefined for nobody. */
  readonly editedBy: Principal | undefined;
}

/** What an approval is used for. */
export interface Use {
  readonly approvalId: string;
  readonly runId: string;
  readonly toolCallId: string;
  readonly stepId: string;
  readonly leaseId: string;
  /** What is to be done, as the present policy has judged it. */
  readonly action: Action | undefined;
  /** The hash of the policy that holds now. */
  readonly policyHash: string;
}

/** An approval and where the log stood after the command. */
export interface ApprovalAt {
  readonly approval: Approval;
  readonly position: bigint;
}

/** What runs need of approvals. */
export interface ApprovalDesk {
  /** Asks people; the same id again answers the first one as it is now. */
  request(call: Call, approval: NewApproval): Promise<ApprovalAt>;
  /** The approval as it is now, payload included; undefined when there is none. */
  find(workspaceId: string, approvalId: string): Promise<Approval | undefined>;
  /** Uses it, once; again for the same run and call is fine. The errors of ApprovalService.ConsumeApproval. */
  consume(call: Call, use: Use): Promise<ApprovalAt>;
  /** Nobody needs it any more; nothing happens when it has ended. */
  cancel(call: Call, approvalId: string, reason: string): Promise<void>;
}

/** Who is told of what should not have happened; never throws, never waits. */
export interface Alarm {
  /** A worker has written under a lease that was not its own any more. */
  fencedWrite(workspaceId: string, runId: string, leaseId: string): void;
  /** What was to be executed is not what was held back or approved. */
  payloadMismatch(workspaceId: string, runId: string, toolCallId: string): void;
}
