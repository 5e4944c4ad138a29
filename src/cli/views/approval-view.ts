import type { Value } from "@bufbuild/protobuf/wkt";
import {
  type Approval,
  type ApprovalDecision,
  ApprovalStatus,
  ApprovalStatusSchema,
  ApprovalVerdictSchema,
} from "../../../gen/signalbox/v1/approval_pb.ts";
import { ZoneSchema } from "../../../gen/signalbox/v1/common_pb.ts";
import { type Action, RiskSchema } from "../../../gen/signalbox/v1/policy_pb.ts";
import { ToolEffectSchema } from "../../../gen/signalbox/v1/run_pb.ts";
import { valueToJson } from "../../client/json.ts";
import { enumName } from "../../kernel/enum-name.ts";
import { fields, table } from "./table.ts";
import { actionText, nameText, principalText, shorten, timeText } from "./values.ts";

/** Approvals below each other, one line each. */
export function approvalTable(approvals: readonly Approval[]): string {
  return table(
    ["APPROVAL", "STATUS", "RISK", "ACTION", "ASKED BY", "APPROVED", "EXPIRES"],
    approvals.map((approval) => [
      approval.approvalId,
      enumName(ApprovalStatusSchema, approval.status),
      enumName(RiskSchema, approval.risk),
      shorten(visible(actionText(approval.action)), 60),
      shorten(principalText(approval.requestedBy), 60),
      `${approval.approveCount} of ${approval.requiredCount}`,
      timeText(approval.expireTime),
    ]),
  );
}

/**
 * Everything that somebody who decides has to know; below an empty line all of what is to be done, nothing cut. Characters
 * that nobody can see are shown by their numbers.
 */
export function approvalView(approval: Approval): string {
  const { zone, roomId, runId, edited, editedBy } = approval;
  const head = fields([
    ["approval", approval.approvalId],
    ["status", statusText(approval)],
    ["action", visible(actionText(approval.action))],
    ["effect", effectText(approval.action)],
    ["risk", enumName(RiskSchema, approval.risk)],
    ["zone", enumName(ZoneSchema, zone)],
    ["why", visible(shorten(approval.message, 2_000))],
    ["reasons", approval.reasonCodes.join(", ")],
    ["rule", `${approval.matchedRule}, policy version ${approval.policyVersion}`],
    ["asked by", principalText(approval.requestedBy)],
    ["run", runId],
    ["tool call", approval.toolCallId],
    ["step", approval.stepId],
    ["room", roomId],
    ["who decides", approval.deciders.join(", ") || "anybody but agents"],
    ["delegated by", approval.delegatedBy.join(", ")],
    ["escalates", escalationText(approval)],
    ["asked at", timeText(approval.createTime)],
    ["expires", timeText(approval.expireTime)],
    ["decided", timeText(approval.decideTime)],
    ["ended", timeText(approval.endTime)],
    ["edited by", edited ? nameText(editedBy) : ""],
    ["digest", approval.payloadDigest],
    ...approval.decisions.map((decision) => ["", decisionText(decision, approval)] as const),
  ]);
  return `${head}\n\n${payloadText(approval.payload)}`;
}

/** What is to be done, as JSON on several lines. Characters that nobody can see are shown by their numbers. */
export function payloadText(payload: Value | undefined): string {
  return visible(JSON.stringify(valueToJson(payload) ?? null, undefined, 2));
}

/** Where an approval stands after somebody has decided: `appr_… PENDING, 1 of 2 have approved`. */
export function decidedText(approval: Approval): string {
  return `${approval.approvalId} ${statusText(approval)}`;
}

function statusText({ status, approveCount, requiredCount, cancelReason }: Approval): string {
  const name = enumName(ApprovalStatusSchema, status);
  if (status === ApprovalStatus.CANCELED) return cancelReason === "" ? name : `${name}: ${cancelReason}`;
  const isOpen = status === ApprovalStatus.PENDING || status === ApprovalStatus.HELD;
  return isOpen ? `${name}, ${approveCount} of ${requiredCount} have approved` : name;
}

function effectText(action: Action | undefined): string {
  if (action === undefined) return "";
  const { effect, reversible, idempotent } = action;
  const more = [reversible ? "can be undone" : "can not be undone", idempotent ? "twice is as once" : ""];
  return [enumName(ToolEffectSchema, effect), ...more].filter((text) => text !== "").join(", ");
}

function escalationText({ escalated, escalateTime, escalateTo }: Approval): string {
  if (escalateTo.length === 0) return "";
  const to = escalateTo.join(", ");
  return escalated ? `has, to ${to}` : `${timeText(escalateTime)} to ${to}`;
}

function decisionText(
  { verdict, decideBy, comment, payloadDigest, decideTime }: ApprovalDecision,
  now: Approval,
): string {
  const about = payloadDigest === "" || payloadDigest === now.payloadDigest ? "" : " (of another payload)";
  const words = comment === "" ? "" : `: ${visible(shorten(comment, 500))}`;
  return `${timeText(decideTime)} ${enumName(ApprovalVerdictSchema, verdict)} by ${principalText(decideBy)}${about}${words}`;
}

/** Marks that reorder or hide text must not make one payload look like another. */
function visible(text: string): string {
  return text.replace(/[\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    [...Array(character.length).keys()]
      .map((index) => `\\u${character.charCodeAt(index).toString(16).padStart(4, "0")}`)
      .join(""),
  );
}
