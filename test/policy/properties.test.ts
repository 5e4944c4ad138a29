import { create, equals, type JsonObject } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { Decision, type PolicyDecision, PolicyDecisionSchema, PolicySchema } from "../../gen/signalbox/v1/policy_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { createCedar } from "../../src/policy/cedar.ts";
import { compilePolicy } from "../../src/policy/compiled-policy.ts";
import { evaluatePolicy } from "../../src/policy/evaluation.ts";
import { decideAgain } from "../../src/policy/simulation.ts";
import { type Act, contextOf, policyOf } from "./judging.ts";

const types = ["mail.send", "mail.read", "db.write", "other"];
const anyType = fc.constantFrom(...types);
const anyEffect = fc.constantFrom<ToolEffect>(0, 1, 2, 3);
const anyAct = fc.record({
  type: anyType,
  effect: anyEffect,
  reversible: fc.boolean(),
  idempotent: fc.boolean(),
  zone: fc.constantFrom<Zone>(0, 1, 2, 3),
  stopped: fc.boolean(),
  payload: fc.dictionary(fc.constantFrom("amount", "to"), fc.jsonValue(), { maxKeys: 2 }) as fc.Arbitrary<JsonObject>,
});
const condition = fc.constantFrom(
  "true",
  'context.type like "mail.*"',
  'context.zone == "sandbox"',
  "context.arguments has amount && context.arguments.amount > 3",
  "context.arguments.amount > 3",
  'context.arguments has to && context.arguments.to == "x"',
  "context.reversible",
  'principal == Agent::"agt_a"',
  'action == Action::"external_write"',
);
const anyRule = fc
  .tuple(fc.constantFrom("permit", "forbid", '@decision("require_approval") forbid'), condition)
  .map(([effect, when]) => `${effect}(principal, action, resource) when { ${when} };`);
const anyRegistered = fc.record({
  type: fc.constantFrom("mail.*", ...types),
  effect: fc.constantFrom<ToolEffect>(1, 2, 3),
  reversible: fc.boolean(),
});
const anyPolicy = fc.record({
  cedar: fc.array(anyRule, { maxLength: 4 }).map((rules) => rules.join("\n")),
  actions: fc.uniqueArray(anyRegistered, { selector: ({ type }) => type, maxLength: 3 }),
  denyUnregistered: fc.boolean(),
});

/** How much a decision lets through. */
const laxness: Readonly<Record<number, number>> = {
  [Decision.UNSPECIFIED]: 0,
  [Decision.DENY]: 0,
  [Decision.REQUIRE_APPROVAL]: 1,
  [Decision.ALLOW]: 2,
};
const laxnessOf = (made: PolicyDecision | undefined) => laxness[made?.decision ?? 0] ?? 0;
type AnyPolicy = Exclude<Parameters<typeof policyOf>[0], string>;
const check = (holds: (act: Act, policy: AnyPolicy, condition: string) => void) =>
  fc.assert(fc.property(anyAct, anyPolicy, condition, holds), { numRuns: 60 });

test("a rule that forbids wins over every other", () => {
  check((act, policy, when) => {
    const forbid = `forbid(principal, action, resource) when { ${when} };`;
    const alone = evaluatePolicy(policyOf(forbid), contextOf(act));
    if (!alone.reasonCodes.includes("RULE_DENIES")) return;
    for (const cedar of [`${policy.cedar}\n${forbid}`, `${forbid}\n${policy.cedar}`]) {
      expect(evaluatePolicy(policyOf({ ...policy, actions: [], cedar }), contextOf(act)).decision).toBe(Decision.DENY);
    }
  });
});

test("one more rule that forbids, or that asks, never allows more", () => {
  check((act, policy, when) => {
    const before = evaluatePolicy(policyOf(policy), contextOf(act));
    for (const kind of ["forbid", '@decision("require_approval") forbid']) {
      const cedar = `${policy.cedar}\n${kind}(principal, action, resource) when { ${when} };`;
      const after = evaluatePolicy(policyOf({ ...policy, cedar }), contextOf(act));
      expect(laxnessOf(after)).toBeLessThanOrEqual(laxnessOf(before));
    }
  });
});

test("what the registry knows never allows more, whatever the default table is asked", () => {
  check((act, { actions = [] }) => {
    const [without, withIt] = [policyOf({}), policyOf({ actions })].map((each) => evaluatePolicy(each, contextOf(act)));
    expect(laxnessOf(withIt)).toBeLessThanOrEqual(laxnessOf(without));
  });
});

test("a kill switch that is on lets no external write through", () => {
  check((act, policy) => {
    const made = evaluatePolicy(policyOf(policy), contextOf({ ...act, stopped: true }));
    expect(made.action?.effect === ToolEffect.EXTERNAL_WRITE && made.decision !== Decision.DENY).toBe(false);
  });
});

test("every decision makes itself again from what it records, by another engine as well", () => {
  const other = createCedar();
  check((act, policy) => {
    const given = contextOf(act);
    const made = evaluatePolicy(policyOf(policy), given, 7n);
    expect(made.context?.payload).toBeUndefined();
    const recorded = { runId: "run_a", toolCallId: "", position: 1n, decision: made, payload: given.payload };
    const stored = compilePolicy(create(PolicySchema, policy), other);
    expect(equals(PolicyDecisionSchema, decideAgain(stored, recorded), made)).toBe(true);
  });
});
