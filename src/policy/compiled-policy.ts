import type { PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";
import type { Action, ApprovalTerms, Policy, PolicyContext } from "../../gen/signalbox/v1/policy_pb.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { type ActionRegistry, createActionRegistry } from "./action-registry.ts";
import type { Cedar } from "./cedar.ts";
import { policyHash } from "./policy-hash.ts";
import { readRule, type Rule } from "./rule.ts";
import { ruleRequest } from "./rule-request.ts";
import { flawInWords, readsArguments } from "./rule-vocabulary.ts";
import { completeTerms, flawInTerms, readRoles, type Roles } from "./terms.ts";

/** What a workspace's rules say to an action. */
export interface RuleAnswer {
  /** The rules that matched, in the order of the text. */
  readonly matched: readonly Rule[];
  /** Why a rule could not be evaluated; undefined when all could. */
  readonly error: string | undefined;
}

/** A policy that is understood and ready to judge. */
export interface CompiledPolicy {
  readonly version: bigint;
  readonly policyHash: string;
  readonly registry: ActionRegistry;
  readonly denyUnregistered: boolean;
  readonly roles: Roles;
  /** How people are asked where no rule says otherwise; complete. */
  readonly terms: ApprovalTerms;
  /** Asks the rules; the same question has the same answer. The action's effect must be a known one. */
  ask(context: PolicyContext, action: Action): RuleAnswer;
}

/** Reads and checks everything that a policy says. INVALID_REQUEST names the place. */
export function compilePolicy(policy: Policy, cedar: Cedar): CompiledPolicy {
  const roles = readRoles(policy.roles);
  if (typeof roles === "string") throw invalid("policy.roles", roles);
  const terms = completeTerms(policy.approval, undefined);
  const flaw = flawInTerms(terms, roles);
  if (flaw !== undefined) throw invalid("policy.approval", flaw);
  const registry = createActionRegistry(policy.actions);
  const parsed = policy.cedar.trim() === "" ? [] : cedar.parse(policy.cedar);
  const rules = checkRules(parsed, roles, terms);
  const hash = policyHash(policy);
  const text = { key: hash, text: policy.cedar };
  const withArguments = parsed.some(readsArguments);
  return {
    version: policy.version,
    policyHash: hash,
    registry,
    denyUnregistered: policy.denyUnregistered,
    roles,
    terms,
    ask(context, action) {
      if (rules.length === 0) return { matched: [], error: undefined };
      const { matched, error } = cedar.match(text, ruleRequest(context, action, roles, withArguments));
      return { matched: matched.flatMap((place) => rules[place] ?? []), error };
    },
  };
}

/** A policy that is in force although it can not be read: what is not known does not allow anything. */
export function brokenPolicy({ version, ...policy }: Policy, error: unknown): CompiledPolicy {
  const message = error instanceof Error ? error.message : String(error);
  return {
    version,
    policyHash: policyHash({ version, ...policy }),
    registry: { find: () => undefined },
    denyUnregistered: true,
    roles: new Map(),
    terms: completeTerms(undefined, undefined),
    ask: () => ({ matched: [], error: message }),
  };
}

function checkRules(parsed: readonly PolicyJson[], roles: Roles, terms: ApprovalTerms): Rule[] {
  const names = new Set(roles.keys());
  const seen = new Set<string>();
  return parsed.map((json, index) => {
    const rule = readRule(json, index + 1);
    const place = `rule ${index + 1}${typeof rule === "string" || rule.id.startsWith("cedar.") ? "" : ` (${rule.id})`}`;
    if (typeof rule === "string") throw invalid("policy.cedar", `${place} ${rule}`);
    if (seen.has(rule.id)) throw invalid("policy.cedar", `${place} has the @id of another rule`);
    seen.add(rule.id);
    const complete = rule.terms && completeTerms(rule.terms, terms);
    const flaw = flawInWords(json, names) ?? (complete && flawInTerms(complete, roles));
    if (flaw !== undefined) throw invalid("policy.cedar", `${place} ${flaw}`);
    return { ...rule, terms: complete };
  });
}

function invalid(field: string, problem: string): SignalboxError {
  return new SignalboxError("INVALID_REQUEST", `${field}: ${problem}`, { field });
}
