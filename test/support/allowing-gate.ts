import { create } from "@bufbuild/protobuf";
import { Decision, PolicyDecisionSchema } from "../../gen/signalbox/v1/policy_pb.ts";
import type { Alarm, ApprovalDesk, Gate } from "../../src/runs/gate.ts";

const going = { stopped: false, epoch: 0n, stoppedAt: () => false };

const nobodyIsAsked = () => {
  throw new Error("where everything is allowed, nobody is asked");
};

/** What stands between runs and the outside where everything is allowed: for tests of what is behind the gate. */
export const allowingGate: { readonly gate: Gate; readonly approvals: ApprovalDesk; readonly alarm: Alarm } = {
  gate: {
    judge: async (_workspaceId, context) =>
      create(PolicyDecisionSchema, { decision: Decision.ALLOW, ...(context.action && { action: context.action }) }),
    externalWrites: async () => going,
    seenExternalWrites: async () => going,
  },
  approvals: { request: nobodyIsAsked, find: nobodyIsAsked, consume: nobodyIsAsked, cancel: nobodyIsAsked },
  alarm: { fencedWrite() {}, payloadMismatch() {} },
};
