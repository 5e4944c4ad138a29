import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { Decision, PolicySchema } from "../../gen/signalbox/v1/policy_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { brokenPolicy } from "../../src/policy/compiled-policy.ts";
import { evaluatePolicy } from "../../src/policy/evaluation.ts";
import { policyHash } from "../../src/policy/policy-hash.ts";
import { contextOf, policyOf } from "./judging.ts";

const all = "(principal, action, resource)";
const asking = (annotations: string) => `@decision("require_approval") ${annotations} forbid${all};`;

/** Why a policy is refused. */
function refusalOf(policy: Parameters<typeof policyOf>[0]): string {
  try {
    policyOf(policy);
  } catch (error) {
    if (error instanceof SignalboxError && error.reason === "INVALID_REQUEST") return error.message;
    throw error;
  }
  return "";
}

describe("rules that are refused, with their place", () => {
  test.each([
    ["permit(principal, action, resource)\nforbid", /line 2, column 7: unexpected end/],
    ["// é\npermit(principal, axtion, resource);", /line 2, column 19: .*axtion/],
    [`permit${all} when { no("x") };`, /line 1, column 44: .*no/],
    ["permit(principal == ?principal, action, resource);", /template/],
    [`@id("a") permit${all};\n@id("a") permit${all};`, /rule 2 \(a\) has the @id of another rule/],
    [`@id("default.read") permit${all};`, /rule 1 has an @id/],
    [`@id("") permit${all};`, /rule 1 has an @id/],
    [`@decison("require_approval") forbid${all};`, /rule 1 has @decison, which means nothing/],
    [`@decision("ask") forbid${all};`, /rule 1 has @decision\("ask"\)/],
    [`@decision("require_approval") permit${all};`, /only `forbid` takes one/],
    [`@ttl("1h") forbid${all};`, /rule 1 has @ttl, but asks nobody/],
    [`@risk("huge") forbid${all};`, /rule 1 has @risk\("huge"\)/],
    [asking('@approvers("")'), /@approvers takes/],
    [asking('@approvers("0 of user:a")'), /@approvers takes/],
    [asking('@approvers("2 role:finance")'), /names "2 role:finance"/],
    [asking('@approvers("role:nobody")'), /names role:nobody, which is none of the policy's roles/],
    [asking('@approvers("2 of user:a")'), /asks for 2 approvals of 1/],
    [asking('@approvers("21")'), /20 are the most/],
    [asking('@ttl("1 hour")'), /@ttl takes/],
    [asking('@ttl("31d")'), /between 1 s and 30 days/],
    [asking('@escalate("1h")'), /@escalate takes/],
    [asking('@escalate("1h to role:nobody")'), /role:nobody/],
    [asking('@ttl("1h") @escalate("1h to user:a")'), /before the ttl is over/],
    [`permit${all} when { context.zoen == "sandbox" };`, /reads context.zoen; there are type/],
    [`permit${all} when { context has zoen };`, /reads context.zoen/],
    ['permit(principal, action == Action::"extern", resource);', /names Action::"extern"/],
    ['permit(principal, action in [Action::"read", Action::"wirte"], resource);', /names Action::"wirte"/],
    ["permit(principal is Robot, action, resource);", /names the type Robot/],
    ['permit(principal == Usr::"a", action, resource);', /names Usr::"a"/],
    ['permit(principal in Role::"nobody", action, resource);', /names Role::"nobody"/],
    [`permit${all} when { principal in Group::"x" };`, /names Group::"x"/],
  ])("%s", (cedar, message) => {
    expect(refusalOf(cedar)).toMatch(message);
  });

  test.each([
    ["parentheses", `${"(".repeat(5_000)}true${")".repeat(5_000)}`],
    ["lists", `${"[".repeat(5_000)}1${"]".repeat(5_000)} == 1`],
    ["conditions", `${"if true then ".repeat(5_000)}true${" else false".repeat(5_000)}`],
    ["sums", `1${"+1".repeat(5_000)} == 1`],
    ["a chain", `true${" && true".repeat(20_000)}`],
    ["a longer chain than it could evaluate", `1${"+1".repeat(300)} == 1`],
  ])("%s without end, and the engine goes on", (_what, condition) => {
    expect(refusalOf(`permit${all} when { ${condition} };`)).toMatch(/deeply|occurrences|long a chain/);
    expect(evaluatePolicy(policyOf(`permit${all};`), contextOf()).decision).toBe(Decision.ALLOW);
  });

  test("but not a chain of fifty", () => {
    const types = Array.from({ length: 50 }, (_, n) => `context.type == "t${n}"`);
    expect(refusalOf(`permit${all} when { ${types.join(" || ")} };`)).toBe("");
  });
});

describe("registries, roles and terms that are refused", () => {
  const { WRITE } = ToolEffect;
  test.each<[MessageInitShape<typeof PolicySchema>, RegExp]>([
    [{ actions: [{ type: "a*b", effect: WRITE }] }, /"a\*b" has a `\*` that is not at the end/],
    [
      {
        actions: [
          { type: "a", effect: WRITE },
          { type: "a", effect: WRITE },
        ],
      },
      /"a" stands twice/,
    ],
    [{ roles: [{ name: "a" }, { name: "a" }] }, /role "a" stands twice/],
    [{ approval: { deciders: ["role:a"] } }, /policy.approval: names role:a/],
    [{ approval: { deciders: ["role:a"], requiredCount: 1 }, roles: [{ name: "a" }] }, /of 0 who may decide/],
    [{ approval: { escalateAfter: durationFromMs(1_000) } }, /to nobody/],
    [{ approval: { escalateTo: ["user:a"] } }, /without a time/],
    [{ approval: { ttl: durationFromMs(10) } }, /between 1 s/],
  ])("case %#", (policy, message) => {
    expect(refusalOf(policy)).toMatch(message);
  });
});

describe("the hash of a policy", () => {
  const policy = {
    cedar: `permit${all};`,
    actions: ["a", "b"].map((type) => ({ type, effect: ToolEffect.READ })),
    roles: [{ name: "r", members: ["user:a", "user:b"] }],
  };
  const hashOf = (other: MessageInitShape<typeof PolicySchema>) => policyHash(create(PolicySchema, other));

  test("is that of what it says", () => {
    expect(hashOf(policy)).toMatch(/^[0-9a-f]{64}$/);
    expect(hashOf({ ...policy, note: "x", version: 7n, etag: "7", workspaceId: "ws_a" })).toBe(hashOf(policy));
    const turned = { actions: policy.actions.toReversed(), roles: [{ name: "r", members: ["user:b", "user:a"] }] };
    expect(hashOf({ ...policy, ...turned })).toBe(hashOf(policy));
  });

  test.each<[string, MessageInitShape<typeof PolicySchema>]>([
    ["a rule", { cedar: "" }],
    ["an action", { actions: [] }],
    ["a member", { roles: [{ name: "r", members: ["user:a"] }] }],
    ["a term", { approval: { requiredCount: 2 } }],
    ["what is denied", { denyUnregistered: true }],
  ])("changes with %s", (_what, change) => {
    expect(hashOf({ ...policy, ...change })).not.toBe(hashOf(policy));
  });
});

test("a policy in force that can not be read denies everything", () => {
  const broken = brokenPolicy(create(PolicySchema, { version: 3n, cedar: "no" }), new Error("no rule"));
  for (const effect of [ToolEffect.READ, ToolEffect.WRITE, ToolEffect.EXTERNAL_WRITE]) {
    expect(evaluatePolicy(broken, contextOf({ effect, reversible: true }))).toMatchObject({
      decision: Decision.DENY,
      policyVersion: 3n,
    });
  }
});
