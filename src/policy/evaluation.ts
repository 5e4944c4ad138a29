import { create } from "@bufbuild/protobuf";
import {
  type Action,
  ActionSchema,
  type ApprovalTerms,
  Decision,
  type PolicyContext,
  type PolicyDecision,
  PolicyDecisionSchema,
  type RegisteredAction,
  Risk,
} from "../../gen/signalbox/v1/policy_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { correctAction, isKnownEffect } from "./action-registry.ts";
import type { CompiledPolicy } from "./compiled-policy.ts";
import { applyDefaults, defaultRisk } from "./default-rules.ts";
import type { Rule } from "./rule.ts";
import { strictestTerms } from "./terms.ts";

/** Why a policy decided as it did, for programs. */
export type ReasonCode =
  | "KILL_SWITCH_ON"
  | "EFFECT_UNKNOWN"
  | "NOT_REGISTERED"
  | "POLICY_ERROR"
  | "RULE_DENIES"
  | "RULE_ASKS"
  | "RULE_ALLOWS"
  | "DEFAULT_ALLOWS"
  | "DEFAULT_ASKS"
  | "EFFECT_CORRECTED";

/** How much is told of what the engine says. */
const maxErrorLength = 500;

interface Verdict {
  readonly decision: Decision;
  readonly reason: ReasonCode;
  readonly rule: string;
  readonly message: string;
  /** What the matching rules say of the risk. */
  readonly risk?: Risk;
  readonly terms?: ApprovalTerms;
}

/**
 * What a policy says to an action: a function of the policy and of the context with its payload, and of nothing else. The
 * decision keeps the context, without the payload, so that it can be made again; `killEpoch` goes into it as it is.
 */
export function evaluatePolicy(policy: CompiledPolicy, context: PolicyContext, killEpoch = 0n): PolicyDecision {
  const claim = context.action ?? create(ActionSchema);
  const known = policy.registry.find(claim.type);
  const action = correctAction(claim, known);
  const isCorrected = action.effect !== claim.effect || action.reversible !== claim.reversible;
  const verdict = judge(policy, context, action, known);
  const { payload: _payload, ...recorded } = context;
  return create(PolicyDecisionSchema, {
    decision: verdict.decision,
    reasonCodes: [verdict.reason, ...(isCorrected ? (["EFFECT_CORRECTED"] satisfies ReasonCode[]) : [])],
    matchedRule: verdict.rule,
    policyVersion: policy.version,
    policyHash: policy.policyHash,
    risk: riskOf(verdict.risk, known?.risk) || defaultRisk(action),
    message: verdict.message,
    action,
    context: recorded,
    killEpoch,
    ...(verdict.terms && { terms: verdict.terms }),
  });
}

/** From what nothing can undo to what holds when nobody has said anything. */
function judge(
  policy: CompiledPolicy,
  context: PolicyContext,
  action: Action,
  known: RegisteredAction | undefined,
): Verdict {
  if (action.effect === ToolEffect.EXTERNAL_WRITE && context.externalWritesStopped) {
    return deny("KILL_SWITCH_ON", "default.kill_switch", "external writes are stopped by a kill switch");
  }
  if (!isKnownEffect(action.effect)) {
    return deny("EFFECT_UNKNOWN", "default.unknown_effect", "nobody has said what it can change");
  }
  if (policy.denyUnregistered && known === undefined && action.effect !== ToolEffect.READ) {
    return deny("NOT_REGISTERED", "default.not_registered", `the policy's registry does not know ${action.type}`);
  }
  const { matched, error } = policy.ask(context, action);
  return ruled(matched, error) ?? byDefault(policy, context, action);
}

/** What the rules say together: a denial wins over a question, and a question over a permission. */
function ruled(matched: readonly Rule[], error: string | undefined): Verdict | undefined {
  const denial = matched.find(({ verdict }) => verdict === "deny");
  const risk = riskOf(...matched.map((rule) => rule.risk));
  if (denial !== undefined) {
    return { ...deny("RULE_DENIES", denial.id, denial.message || `rule ${denial.id} forbids it`), risk };
  }
  // A rule that can not be evaluated might have been a denial.
  if (error !== undefined) {
    // The engine repeats what it could not read, whole: arguments as text in every event, and in the head of an answer.
    const why = error.length > maxErrorLength ? `${error.slice(0, maxErrorLength).toWellFormed()}…` : error;
    return deny("POLICY_ERROR", "default.policy_error", `the policy could not be evaluated: ${why}`);
  }
  const questions = matched.filter(({ verdict }) => verdict === "ask");
  const [question] = questions;
  if (question !== undefined) {
    return {
      decision: Decision.REQUIRE_APPROVAL,
      reason: "RULE_ASKS",
      rule: question.id,
      message: question.message || `rule ${question.id} asks for approval`,
      risk,
      terms: strictestTerms(questions.flatMap(({ terms }) => terms ?? [])),
    };
  }
  const [permission] = matched;
  if (permission === undefined) return undefined;
  const message = permission.message || `rule ${permission.id} permits it`;
  return { decision: Decision.ALLOW, reason: "RULE_ALLOWS", rule: permission.id, message, risk };
}

function byDefault(policy: CompiledPolicy, { zone }: PolicyContext, action: Action): Verdict {
  const { decision, rule, message } = applyDefaults(action, zone);
  if (decision === Decision.ALLOW) return { decision, reason: "DEFAULT_ALLOWS", rule, message };
  return { decision, reason: "DEFAULT_ASKS", rule, message, terms: policy.terms };
}

function deny(reason: ReasonCode, rule: string, message: string): Verdict {
  return { decision: Decision.DENY, reason, rule, message };
}

/** The highest of them; unspecified when none is given. */
function riskOf(...risks: readonly (Risk | undefined)[]): Risk {
  return risks.reduce<Risk>(
    (highest, risk) => (risk !== undefined && risk > highest ? risk : highest),
    Risk.UNSPECIFIED,
  );
}
