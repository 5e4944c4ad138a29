import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { ApprovalStatus } from "../../gen/signalbox/v1/approval_pb.ts";
import { Decision } from "../../gen/signalbox/v1/policy_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { payloadDigest } from "../../src/approvals/digest.ts";

/**
 * What of the gate's laws a history breaks, one line each: a start has a permission on record; an approval is decided, consumed
 * and started with the same bytes, once each and in this order; no start that stands is behind the flip of a kill switch.
 */
export function brokenLaws(events: readonly Event[]): string[] {
  const broken: string[] = [];
  const requested = new Map<string, Event>();
  const approved = new Map<string, string>();
  const consumed = new Map<string, string>();
  const started = new Set<string>();
  const flips: { position: bigint; on: boolean }[] = [];
  events.forEach((event, index) => {
    const { payload, stream, position } = event;
    const id = stream?.id ?? "";
    const say = (problem: string) => broken.push(`${position} ${event.type}: ${problem}`);
    if (payload.case === "killSwitchFlipped") flips.push({ position, on: payload.value.on });
    if (payload.case === "approvalRequested") requested.set(id, event);
    if (payload.case === "approvalDecided" && payload.value.status === ApprovalStatus.APPROVED) {
      approved.set(id, payload.value.payloadDigest);
    }
    if (payload.case === "approvalConsumed") {
      if (consumed.has(id)) say("consumed twice");
      if (approved.get(id) !== payload.value.payloadDigest) say("consumed is not what was approved");
      consumed.set(id, payload.value.payloadDigest);
    }
    if (payload.case !== "toolCallStarted") return;
    const { approvalId, effect, decision, toolCallId, payloadDigest: digest, arguments: given } = payload.value;
    if (approvalId === "" && decision?.decision !== Decision.ALLOW) say("nobody has permitted it");
    if (approvalId !== "") {
      if (started.has(approvalId)) say("one approval, two starts");
      started.add(approvalId);
      if (consumed.get(approvalId) !== digest) say("started is not what was consumed");
      const asked = requested.get(approvalId)?.payload;
      const { action, decision: asking } = asked?.case === "approvalRequested" ? asked.value : {};
      const bound = { workspaceId: event.workspaceId, runId: id, toolCallId, stepId: "", action };
      const own = payloadDigest({ ...bound, policyHash: asking?.policyHash ?? "", payload: given });
      if (own !== digest) say("the arguments are not what was approved");
    }
    const isBehind = flips.findLast((flip) => flip.position < position)?.on === true;
    const stands = !events
      .slice(index + 1)
      .some(({ payload: later }) => later.case === "toolCallGated" && later.value.toolCallId === toolCallId);
    if (effect === ToolEffect.EXTERNAL_WRITE && isBehind && stands) say("started behind the flip of a kill switch");
  });
  return broken;
}
