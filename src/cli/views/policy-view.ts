import {
  type ApprovalTerms,
  DecisionSchema,
  type Policy,
  type PolicyDecision,
  type RegisteredAction,
  RiskSchema,
} from "../../../gen/signalbox/v1/policy_pb.ts";
import type { PolicyFlip } from "../../../gen/signalbox/v1/policy_service_pb.ts";
import { ToolEffectSchema } from "../../../gen/signalbox/v1/run_pb.ts";
import { enumName } from "../../kernel/enum-name.ts";
import { spanText } from "./limits.ts";
import { fields, table } from "./table.ts";
import { actionText, principalText, shorten, timeText } from "./values.ts";

/** Versions of a policy below each other, one line each. */
export function policyTable(policies: readonly Policy[]): string {
  return table(
    ["VERSION", "HASH", "PUT", "BY", "NOTE"],
    policies.map((policy) => [
      String(policy.version),
      policy.policyHash.slice(0, 12),
      timeText(policy.updateTime),
      principalText(policy.updateBy),
      shorten(policy.note, 80),
    ]),
  );
}

/** Everything that a policy says: what it knows of actions, who decides, and below an empty line its rules. */
export function policyView(policy: Policy): string {
  const { version, actions, roles, updateTime } = policy;
  const head = fields([
    ["version", version === 0n ? "0: the default rules alone" : String(version)],
    ["hash", policy.policyHash],
    ["note", shorten(policy.note, 1_000)],
    ["put", updateTime === undefined ? "" : `${timeText(updateTime)} by ${principalText(policy.updateBy)}`],
    ["approvals", termsText(policy.approval)],
    ["unregistered", policy.denyUnregistered ? "writes that are not registered are denied" : ""],
    ...roles.map(({ name, members }) => [`role:${name}`, members.join(", ")] as const),
    ["etag", policy.etag],
    ["position", String(policy.position)],
  ]);
  const registered = actions.length === 0 ? [] : [actionTable(actions)];
  const rules = policy.cedar.trim() === "" ? [] : [policy.cedar.trimEnd()];
  return [head, ...registered, ...rules].join("\n\n");
}

/** Everything that a policy says to an action, and why. */
export function decisionView(decision: PolicyDecision): string {
  return fields([
    ["decision", enumName(DecisionSchema, decision.decision)],
    ["action", actionText(decision.action)],
    ["effect", decision.action === undefined ? "" : enumName(ToolEffectSchema, decision.action.effect)],
    ["reasons", decision.reasonCodes.join(", ")],
    ["rule", decision.matchedRule],
    ["risk", enumName(RiskSchema, decision.risk)],
    ["message", decision.message],
    ["approvals", termsText(decision.terms)],
    ["policy", `version ${decision.policyVersion}, ${decision.policyHash}`],
  ]);
}

/** Decisions that would be another one, one line each. */
export function flipTable(flips: readonly PolicyFlip[]): string {
  return table(
    ["POSITION", "RUN", "ACTION", "WAS", "WOULD BE", "RULE"],
    flips.map(({ position, runId, recorded, simulated }) => [
      String(position),
      runId,
      shorten(actionText(recorded?.action), 60),
      enumName(DecisionSchema, recorded?.decision ?? 0),
      enumName(DecisionSchema, simulated?.decision ?? 0),
      simulated?.matchedRule ?? "",
    ]),
  );
}

function actionTable(actions: readonly RegisteredAction[]): string {
  return table(
    ["ACTION", "EFFECT", "REVERSIBLE", "RISK"],
    actions.map(({ type, effect, reversible, risk }) => [
      type,
      enumName(ToolEffectSchema, effect),
      reversible ? "yes" : "no",
      risk === 0 ? "" : enumName(RiskSchema, risk),
    ]),
  );
}

/** `2 of role:finance, within 24 h`; empty when the terms say nothing. */
function termsText(terms: ApprovalTerms | undefined): string {
  if (terms === undefined) return "";
  const { requiredCount, deciders, ttl, escalateAfter, escalateTo } = terms;
  const who = deciders.length === 0 ? "" : ` of ${deciders.join(", ")}`;
  const parts = [
    requiredCount === 0 && who === "" ? "" : `${requiredCount || 1}${who}`,
    ttl === undefined ? "" : `within ${spanText(ttl)}`,
    escalateAfter === undefined ? "" : `after ${spanText(escalateAfter)} also ${escalateTo.join(", ")}`,
  ];
  return parts.filter((part) => part !== "").join(", ");
}
