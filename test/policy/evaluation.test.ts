import { create, type JsonObject } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { PrincipalSchema, PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { Decision, Risk } from "../../gen/signalbox/v1/policy_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import type { CompiledPolicy } from "../../src/policy/compiled-policy.ts";
import { evaluatePolicy } from "../../src/policy/evaluation.ts";
import { type Act, contextOf, policyOf } from "./judging.ts";

const { ALLOW, DENY, REQUIRE_APPROVAL } = Decision;
const { READ, WRITE, EXTERNAL_WRITE, UNSPECIFIED } = ToolEffect;
const { SANDBOX, SUPERVISED, HIGH_STAKES } = Zone;
const none = policyOf({});
const judge = (policy: CompiledPolicy, act: Act = {}) => evaluatePolicy(policy, contextOf(act));

describe("the default table", () => {
  test.each([
    [READ, false, SANDBOX, ALLOW, "default.read", Risk.LOW],
    [READ, false, SUPERVISED, ALLOW, "default.read", Risk.LOW],
    [READ, false, HIGH_STAKES, ALLOW, "default.read", Risk.LOW],
    [READ, false, Zone.UNSPECIFIED, ALLOW, "default.read", Risk.LOW],
    [WRITE, true, SANDBOX, ALLOW, "default.sandbox_write", Risk.LOW],
    [WRITE, true, SUPERVISED, REQUIRE_APPROVAL, "default.write", Risk.LOW],
    [WRITE, true, HIGH_STAKES, REQUIRE_APPROVAL, "default.write", Risk.LOW],
    [WRITE, true, Zone.UNSPECIFIED, REQUIRE_APPROVAL, "default.write", Risk.LOW],
    [WRITE, false, SANDBOX, REQUIRE_APPROVAL, "default.irreversible_write", Risk.MEDIUM],
    [WRITE, false, SUPERVISED, REQUIRE_APPROVAL, "default.irreversible_write", Risk.MEDIUM],
    [WRITE, false, HIGH_STAKES, REQUIRE_APPROVAL, "default.irreversible_write", Risk.MEDIUM],
    [EXTERNAL_WRITE, true, SANDBOX, REQUIRE_APPROVAL, "default.external_write", Risk.MEDIUM],
    [EXTERNAL_WRITE, true, SUPERVISED, REQUIRE_APPROVAL, "default.external_write", Risk.MEDIUM],
    [EXTERNAL_WRITE, true, HIGH_STAKES, REQUIRE_APPROVAL, "default.external_write", Risk.MEDIUM],
    [EXTERNAL_WRITE, false, SANDBOX, REQUIRE_APPROVAL, "default.external_write", Risk.HIGH],
    [EXTERNAL_WRITE, false, SUPERVISED, REQUIRE_APPROVAL, "default.external_write", Risk.HIGH],
    [EXTERNAL_WRITE, false, HIGH_STAKES, REQUIRE_APPROVAL, "default.external_write", Risk.HIGH],
    [UNSPECIFIED, true, SANDBOX, DENY, "default.unknown_effect", Risk.UNKNOWN],
    [7 as ToolEffect, true, SANDBOX, DENY, "default.unknown_effect", Risk.UNKNOWN],
  ])("effect %i, reversible %s, zone %i: %i by %s", (effect, reversible, zone, decision, matchedRule, risk) => {
    expect(judge(none, { effect, reversible, zone })).toMatchObject({ decision, matchedRule, risk, policyVersion: 0n });
  });

  test("asks one of anybody, within a day", () => {
    expect(judge(none).terms).toMatchObject({
      requiredCount: 1,
      deciders: [],
      ttl: { seconds: 86_400n },
      escalateTo: [],
    });
    expect(judge(none, { effect: READ }).terms).toBeUndefined();
  });

  test("asks on the terms of the policy where it has some", () => {
    const policy = policyOf({
      roles: [{ name: "finance", members: ["user:a", "user:b"] }],
      approval: { requiredCount: 2, deciders: ["role:finance"], ttl: durationFromMs(60_000) },
    });
    expect(judge(policy).terms).toMatchObject({ requiredCount: 2, deciders: ["role:finance"], ttl: { seconds: 60n } });
  });
});

describe("a kill switch that is on", () => {
  test("denies external writes, whatever the rules say", () => {
    const policy = policyOf("permit(principal, action, resource);");
    expect(judge(policy, { stopped: true })).toMatchObject({ decision: DENY, reasonCodes: ["KILL_SWITCH_ON"] });
  });

  test.each([READ, WRITE])("leaves effect %i alone", (effect) => {
    expect(judge(none, { effect, reversible: true, stopped: true }).decision).toBe(ALLOW);
  });

  test("denies what the registry knows to be an external write", () => {
    const policy = policyOf({ actions: [{ type: "mail.*", effect: EXTERNAL_WRITE }] });
    expect(judge(policy, { effect: READ, stopped: true })).toMatchObject({
      decision: DENY,
      reasonCodes: ["KILL_SWITCH_ON", "EFFECT_CORRECTED"],
    });
  });
});

describe("the registry", () => {
  const policy = policyOf({
    actions: [
      { type: "mail.*", effect: EXTERNAL_WRITE, reversible: false, risk: Risk.HIGH },
      { type: "mail.read.*", effect: READ, reversible: true },
      { type: "mail.draft", effect: WRITE, reversible: true, risk: Risk.MEDIUM },
    ],
  });

  test("makes a claim stricter and says so", () => {
    expect(judge(policy, { effect: READ })).toMatchObject({
      decision: REQUIRE_APPROVAL,
      reasonCodes: ["DEFAULT_ASKS", "EFFECT_CORRECTED"],
      risk: Risk.HIGH,
      action: { effect: EXTERNAL_WRITE, reversible: false },
      context: { action: { effect: READ } },
    });
  });

  test("prefers the name to a beginning, and a longer beginning to a shorter one", () => {
    expect(judge(policy, { type: "mail.draft", effect: READ, reversible: true }).action?.effect).toBe(WRITE);
    expect(judge(policy, { type: "mail.read.inbox", effect: READ }).decision).toBe(ALLOW);
  });

  test("never makes a claim laxer", () => {
    const laxer = judge(policy, { type: "mail.read.inbox", effect: EXTERNAL_WRITE });
    expect(laxer).toMatchObject({ decision: REQUIRE_APPROVAL, action: { effect: EXTERNAL_WRITE, reversible: false } });
    expect(judge(policy, { type: "mail.read.inbox", effect: UNSPECIFIED }).reasonCodes).toEqual(["EFFECT_UNKNOWN"]);
  });

  test("denies writes that it does not know, when asked to", () => {
    const strict = policyOf({ denyUnregistered: true, actions: [{ type: "known", effect: WRITE, reversible: true }] });
    expect(judge(strict, { type: "other" })).toMatchObject({ decision: DENY, reasonCodes: ["NOT_REGISTERED"] });
    expect(judge(strict, { type: "other", effect: READ }).decision).toBe(ALLOW);
    expect(judge(strict, { type: "known", effect: WRITE, reversible: true }).decision).toBe(ALLOW);
  });
});

describe("rules", () => {
  const permit = "permit(principal, action, resource);";
  const ask = '@id("ask") @decision("require_approval") forbid(principal, action, resource);';
  const forbid = '@id("no") @reason("never") @risk("high") forbid(principal, action, resource);';

  test.each([
    [[permit], ALLOW, "RULE_ALLOWS", "cedar.1"],
    [[ask], REQUIRE_APPROVAL, "RULE_ASKS", "ask"],
    [[forbid], DENY, "RULE_DENIES", "no"],
    [[permit, ask], REQUIRE_APPROVAL, "RULE_ASKS", "ask"],
    [[permit, forbid], DENY, "RULE_DENIES", "no"],
    [[ask, forbid], DENY, "RULE_DENIES", "no"],
    [[permit, ask, forbid], DENY, "RULE_DENIES", "no"],
  ])("%j decide together: %i", (rules, decision, code, matchedRule) => {
    for (const text of [rules, rules.toReversed()].map((each) => each.join("\n"))) {
      expect(judge(policyOf(text))).toMatchObject({ decision, reasonCodes: [code], matchedRule });
    }
  });

  test("say why, and how dangerous it is", () => {
    expect(judge(policyOf(forbid), { effect: READ })).toMatchObject({ message: "never", risk: Risk.HIGH });
  });

  test("that do not match leave it to the default table", () => {
    const policy = policyOf('forbid(principal, action, resource == Tool::"other");');
    expect(judge(policy, { effect: READ })).toMatchObject({ decision: ALLOW, matchedRule: "default.read" });
  });

  test("that can not be evaluated deny", () => {
    const policy = policyOf("permit(principal, action, resource) when { context.arguments.amount < 100 };");
    expect(judge(policy, { payload: { amount: 5 } }).decision).toBe(ALLOW);
    const others: JsonObject[] = [{}, { amount: "5" }, { amount: 5.5 }, { amount: 1e300 }, { amount: null }];
    for (const payload of others) {
      expect(judge(policy, { payload })).toMatchObject({ decision: DENY, reasonCodes: ["POLICY_ERROR"] });
    }
  });

  test("that can not be evaluated say why in few words, however long what they could not read is", () => {
    const policy = policyOf("permit(principal, action, resource) when { ip(context.arguments.ip).isLoopback() };");
    const { message, decision } = judge(policy, { payload: { ip: "9".repeat(100_000) } });
    expect(decision).toBe(DENY);
    expect(message).toMatch(/^the policy could not be evaluated: rule 1: .{100,600}…$/);
  });

  test("count past ten in the order of the text", () => {
    const rules = Array.from({ length: 12 }, (_, n) => `forbid(principal, action, resource == Tool::"t${n + 1}");`);
    const policy = policyOf(rules.join("\n"));
    for (const n of [1, 2, 10, 11, 12]) expect(judge(policy, { type: `t${n}` }).matchedRule).toBe(`cedar.${n}`);
  });
});

describe("what rules see", () => {
  const chain = create(PrincipalSchema, {
    type: PrincipalType.AGENT,
    id: "agt_a",
    onBehalfOf: [{ type: PrincipalType.USER, id: "alice" }],
  });
  const roles = [{ name: "finance", members: ["user:alice"] }];

  test.each([
    'principal == Agent::"agt_a"',
    "principal is Agent",
    'principal in User::"alice"',
    'principal in Role::"finance"',
    'action == Action::"external_write"',
    'resource == Tool::"mail.send"',
    'context.type like "mail.*"',
    'context.target == "mailto:bob@example.com"',
    'context.effect == "external_write"',
    "!context.reversible",
    "context.idempotent",
    'context.zone == "supervised"',
    'context.room == "room_a"',
    'context.agent == "agt_a"',
    'context.handler == "agent"',
    'context.run == "run_a"',
    'context.labels has team && context.labels.team == "ops"',
    'context.arguments.to.contains("bob@example.com")',
    "context.arguments.count == 3",
    'context.arguments.price == decimal("1.5")',
    'context.arguments.huge == "1e+300"',
    "context.arguments.deep.flag",
    "!(context.arguments has nothing)",
  ])("%s", (condition) => {
    const policy = policyOf({ roles, cedar: `forbid(principal, action, resource) when { ${condition} };` });
    const payload = {
      to: ["bob@example.com", null],
      count: 3,
      price: 1.5,
      huge: 1e300,
      deep: { flag: true },
      nothing: null,
    };
    const made = judge(policy, {
      payload,
      principal: chain,
      zone: SUPERVISED,
      target: "mailto:bob@example.com",
      idempotent: true,
      labels: { team: "ops" },
    });
    expect(made.reasonCodes).toEqual(["RULE_DENIES"]);
  });

  test("is nothing that a payload makes up", () => {
    const policy = policyOf('permit(principal, action, resource) when { context.arguments.who == User::"root" };');
    const payload = { who: { __entity: { type: "User", id: "root" } } };
    expect(judge(policy, { payload }).decision).toBe(REQUIRE_APPROVAL);
    expect(judge(policy, { payload: { who: { __extn: { fn: "nope", arg: "" } } } }).decision).toBe(REQUIRE_APPROVAL);
  });
});

describe("the terms of several rules that ask", () => {
  const roles = [
    { name: "finance", members: ["user:a", "user:b", "user:c"] },
    { name: "leads", members: ["user:l"] },
  ];
  const asking = (annotations: string) =>
    `@decision("require_approval") ${annotations} forbid(principal, action, resource);`;
  const terms = (...rules: string[]) =>
    judge(policyOf({ roles, cedar: rules.map(asking).join("\n"), approval: { ttl: durationFromMs(7_200_000) } })).terms;

  test("are those of the rule, and the policy's where it says nothing", () => {
    expect(terms('@approvers("2 of role:finance, user:bob") @escalate("30m to role:leads")')).toMatchObject({
      requiredCount: 2,
      deciders: ["role:finance", "user:bob"],
      ttl: { seconds: 7_200n },
      escalateAfter: { seconds: 1_800n },
      escalateTo: ["role:leads"],
    });
    expect(terms('@approvers("3")')).toMatchObject({ requiredCount: 3, deciders: [] });
    expect(terms('@approvers("user:bob") @ttl("90s")')).toMatchObject({
      requiredCount: 1,
      deciders: ["user:bob"],
      ttl: { seconds: 90n },
    });
  });

  test("are the strictest of all", () => {
    const both = terms(
      '@approvers("2 of role:finance") @ttl("1h") @escalate("10m to role:leads")',
      '@approvers("user:bob") @ttl("30m") @escalate("20m to user:boss")',
    );
    expect(both).toMatchObject({
      requiredCount: 2,
      deciders: ["role:finance", "user:bob"],
      ttl: { seconds: 1_800n },
      escalateAfter: { seconds: 1_200n },
      escalateTo: ["role:leads", "user:boss"],
    });
    const one = terms('@escalate("10m to role:leads")', '@approvers("user:bob")');
    expect(one).toMatchObject({ deciders: ["user:bob"], escalateTo: [] });
    expect(one?.escalateAfter).toBeUndefined();
  });
});
