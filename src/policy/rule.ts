import type { PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";
import { type ApprovalTerms, Risk } from "../../gen/signalbox/v1/policy_pb.ts";
import { readTerms } from "./terms.ts";

/** What a Cedar rule means when it matches. */
export interface Rule {
  /** Its `@id`, or `cedar.<n>` for the n-th rule of the policy. */
  readonly id: string;
  readonly verdict: "deny" | "ask" | "allow";
  /** Its `@reason`; empty for none. */
  readonly message: string;
  /** Its `@risk`; unspecified for none. */
  readonly risk: Risk;
  /** Who has to approve, as far as the rule says so; undefined unless it asks. */
  readonly terms: ApprovalTerms | undefined;
}

const known = ["id", "decision", "reason", "risk", "approvers", "ttl", "escalate"];
const ofAsking = ["approvers", "ttl", "escalate"];
const idPattern = /^(?!default\.|cedar\.)[!-~]{1,100}$/;
const maxReasonLength = 1_000;
const risks: ReadonlyMap<string, Risk> = new Map([
  ["low", Risk.LOW],
  ["medium", Risk.MEDIUM],
  ["high", Risk.HIGH],
  ["unknown", Risk.UNKNOWN],
]);

/** The n-th rule of a policy, from 1; what is wrong with its annotations as a string. Pure. */
export function readRule({ effect, annotations = {} }: PolicyJson, n: number): Rule | string {
  const strange = Object.keys(annotations).find((name) => !known.includes(name));
  if (strange !== undefined) return `has @${strange}, which means nothing here; known are @${known.join(", @")}`;
  const { id, decision, reason = "", risk } = annotations;
  if (id !== undefined && !idPattern.test(id)) {
    return "has an @id that is not 1 to 100 visible ASCII characters, or begins with `default.` or `cedar.`";
  }
  const asks = decision !== undefined;
  if (asks && (decision !== "require_approval" || effect !== "forbid")) {
    return `has @decision(${JSON.stringify(decision)}); only \`forbid\` takes one: "require_approval"`;
  }
  const vain = asks ? undefined : ofAsking.find((name) => annotations[name] !== undefined);
  if (vain !== undefined) return `has @${vain}, but asks nobody; add @decision("require_approval") to a \`forbid\``;
  if (reason.length > maxReasonLength) return `has a @reason of more than ${maxReasonLength} characters`;
  const level = risk === undefined ? Risk.UNSPECIFIED : risks.get(risk);
  if (level === undefined) return `has @risk(${JSON.stringify(risk)}); say low, medium, high or unknown`;
  const terms = asks ? readTerms(annotations) : undefined;
  if (typeof terms === "string") return `has terms that can not be read: ${terms}`;
  const verdict = effect === "permit" ? "allow" : asks ? "ask" : "deny";
  return { id: id ?? `cedar.${n}`, verdict, message: reason, risk: level, terms };
}
