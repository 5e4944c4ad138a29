import type { ConnectRouter } from "@connectrpc/connect";
import {
  ApprovalService,
  type ConsumeApprovalRequest,
  type RequestApprovalRequest,
} from "../../gen/signalbox/v1/approval_service_pb.ts";
import { type Call, callOf } from "../kernel/call.ts";
import type { ApprovalAt, Approvals } from "./approvals.ts";

/** What the steps of runs do with approvals, under the lease of the run. */
export interface StepApprovals {
  /** Asks people. The errors of ApprovalService.RequestApproval. */
  request(call: Call, request: RequestApprovalRequest): Promise<ApprovalAt>;
  /** Uses what was approved. The errors of ApprovalService.ConsumeApproval. */
  consume(call: Call, request: ConsumeApprovalRequest): Promise<ApprovalAt>;
}

/** Serves ApprovalService. */
export function approvalRoutes(router: ConnectRouter, approvals: Approvals, stepApprovals: StepApprovals): void {
  router.service(ApprovalService, {
    requestApproval: (request, context) => stepApprovals.request(callOf(context), request),
    getApproval: async ({ approvalId }, context) => ({ approval: await approvals.get(callOf(context), approvalId) }),
    listApprovals: (request, context) => approvals.list(callOf(context), request),
    decideApproval: (request, context) => approvals.decide(callOf(context), request),
    editApproval: (request, context) => approvals.edit(callOf(context), request),
    delegateApproval: (request, context) => approvals.delegate(callOf(context), request),
    consumeApproval: (request, context) => stepApprovals.consume(callOf(context), request),
  });
}
