import { createRequire } from "node:module";
import type * as CedarWasm from "@cedar-policy/cedar-wasm/nodejs";
import { SignalboxError } from "../kernel/errors.ts";
import type { RuleRequest } from "./rule-request.ts";

type Wasm = typeof CedarWasm;

/** The rules of a policy as text, with a name by which the engine keeps them. */
export interface RuleText {
  /** Different for different texts. */
  readonly key: string;
  readonly text: string;
}

/** Which rules a request matches, by their places in the text from 0, in order. Matching permits are left out beside a forbid. */
export interface RuleMatch {
  readonly matched: readonly number[];
  /** Why a rule could not be evaluated; undefined when all could. */
  readonly error: string | undefined;
}

/** The Cedar engine, the only impure part of a decision, and that only by its memory: the same question has the same answer. */
export interface Cedar {
  /** The rules of a text, in order. INVALID_REQUEST names the line. */
  parse(text: string): CedarWasm.PolicyJson[];
  match(rules: RuleText, request: RuleRequest): RuleMatch;
}

/** Policies that are kept ready. The engine forgets none by itself, so its names are used over and over. */
const keptPolicies = 64;
const require = createRequire(import.meta.url);

/** An engine. It is loaded when the first rule is met (70 ms): most workspaces have none. */
export function createCedar(): Cedar {
  let loaded: Wasm | undefined;
  // The key of a policy, and the name that the engine knows it by; the one used longest ago comes first.
  const kept = new Map<string, string>();

  /** After an exception the engine's stack is not what it was: every further call would fail. So another one takes its place. */
  function run<T>(question: (wasm: Wasm) => T): T | { readonly thrown: string } {
    try {
      return question((loaded ??= load()));
    } catch (error) {
      loaded = undefined;
      kept.clear();
      return { thrown: error instanceof Error ? error.message : String(error) };
    }
  }

  function nameOf(wasm: Wasm, { key, text }: RuleText): string {
    const [longestAgo] = kept.keys();
    const name = kept.get(key) ?? (kept.size < keptPolicies ? String(kept.size) : kept.get(longestAgo ?? ""));
    if (name === undefined) throw new Error("no place for another policy");
    if (!kept.has(key)) {
      if (kept.size === keptPolicies && longestAgo !== undefined) kept.delete(longestAgo);
      const answer = wasm.preparsePolicySet(name, { staticPolicies: text });
      if (answer.type === "failure") throw new Error(answer.errors[0]?.message ?? "the rules do not parse");
    }
    kept.delete(key);
    kept.set(key, name);
    return name;
  }

  return {
    parse(text) {
      const parts = run((wasm) => wasm.policySetTextToParts(text));
      if ("thrown" in parts) throw invalid("is nested too deeply for the engine; split the rule into several");
      if (parts.type === "failure") throw invalid(describe(parts.errors, text));
      const { policies, policy_templates: templates } = parts;
      if (templates.length > 0) throw invalid("has a template (?principal, ?resource); write the rules out");
      // They come sorted by names that count them: 0, 1, 10, 11, 2.
      const places = policies.map((_, index) => `policy${index}`).toSorted();
      const ordered = policies.map((policy, i) => ({ policy, n: Number(places[i]?.slice("policy".length)) }));
      return ordered
        .toSorted((a, b) => a.n - b.n)
        .map(({ policy, n }) => {
          const answer = run((wasm) => wasm.policyToJson(policy));
          if ("thrown" in answer) throw invalid(`rule ${n + 1} is nested too deeply for the engine; split it`);
          if (answer.type === "failure") throw invalid(`rule ${n + 1}: ${describe(answer.errors, policy)}`);
          return answer.json;
        });
    },
    match(rules, request) {
      const answer = run((wasm) =>
        wasm.statefulIsAuthorized({ ...request, preparsedPolicySetId: nameOf(wasm, rules) }),
      );
      if ("thrown" in answer) return { matched: [], error: answer.thrown };
      if (answer.type === "failure")
        return { matched: [], error: answer.errors.map(({ message }) => message).join("; ") };
      const { reason, errors } = answer.response.diagnostics;
      const failed = errors.toSorted((a, b) => placeOf(a.policyId) - placeOf(b.policyId))[0];
      return {
        matched: reason.map(placeOf).toSorted((a, b) => a - b),
        error: failed && `rule ${placeOf(failed.policyId) + 1}: ${failed.error.message}`,
      };
    },
  };
}

/** An engine of its own, not the one that Node keeps. */
function load(): Wasm {
  const path = require.resolve("@cedar-policy/cedar-wasm/nodejs");
  delete require.cache[path];
  return require(path) as Wasm;
}

function placeOf(policyId: string): number {
  return Number(policyId.slice("policy".length));
}

function describe(errors: readonly CedarWasm.DetailedError[], text: string): string {
  const [first] = errors;
  const bytes = Buffer.from(text);
  const start = first?.sourceLocations?.[0]?.start;
  // Places are counted in bytes.
  const lines = bytes
    .subarray(0, start ?? 0)
    .toString()
    .split("\n");
  const place = start === undefined ? "" : `line ${lines.length}, column ${(lines.at(-1)?.length ?? 0) + 1}: `;
  return `${place}${first?.message ?? "does not parse"}${first?.help ? ` (${first.help})` : ""}`;
}

function invalid(problem: string): SignalboxError {
  return new SignalboxError("INVALID_REQUEST", `policy.cedar: ${problem}`, { field: "policy.cedar" });
}
