import { afterAll, describe, expect, test } from "vitest";
import { Code } from "@connectrpc/connect";
import { Decision, KillSwitchScope } from "../../gen/signalbox/v1/policy_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import type { SignalboxClient } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { quietly, vainly } from "./recorded.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

type Policy = NonNullable<Parameters<SignalboxClient["policy"]["putPolicy"]>[0]["policy"]>;

const client = installation.client({ workspaceId: newWorkspaceId() });
const old = { cedar: '@id("old") forbid(principal, action, resource) when { context.type == "launch" };' };
const { policy: kept } = await client.policy.putPolicy({ policy: old });
const context = { action: { type: "launch", effect: ToolEffect.READ } };

const rule = "forbid(principal, action, resource);";
const asking = `@decision("require_approval")`;

describe("a policy that can not be understood is refused, says where, and leaves the old one in force:", () => {
  test.each<[string, Policy, string]>([
    ["noise", { cedar: "forbid(" }, "cedar"],
    [
      "a mistake in the third line",
      { cedar: `${rule}\n\nforbid(principal, action, resource) when { 1 + };` },
      "line 3",
    ],
    ["a template", { cedar: "permit(principal == ?principal, action, resource);" }, "template"],
    ["an annotation that means nothing", { cedar: `@aprovers("2") ${rule}` }, "@aprovers"],
    ["a decision that there is not", { cedar: `@decision("maybe") ${rule}` }, "@decision"],
    ["a permission that asks", { cedar: `${asking} permit(principal, action, resource);` }, "@decision"],
    ["approvers of nobody's question", { cedar: `@approvers("2") ${rule}` }, "@approvers"],
    ["a role that there is not", { cedar: `${asking} @approvers("role:nobody") ${rule}` }, "role:nobody"],
    ["more approvals than there are approvers", { cedar: `${asking} @approvers("3 of user:a, user:b") ${rule}` }, "3"],
    ["a time that is none", { cedar: `${asking} @ttl("soon") ${rule}` }, "@ttl"],
    ["a time without end", { cedar: `${asking} @ttl("999999999d") ${rule}` }, "ttl"],
    ["an escalation to nobody", { cedar: `${asking} @escalate("5m") ${rule}` }, "@escalate"],
    ["an escalation that comes too late", { cedar: `${asking} @ttl("1m") @escalate("2m to user:a") ${rule}` }, "late"],
    ["two rules of one name", { cedar: `@id("a") ${rule} @id("a") ${rule}` }, "a"],
    ["a rule with a name of ours", { cedar: `@id("default.read") ${rule}` }, "@id"],
    ["a role twice", { roles: [{ name: "ops" }, { name: "ops" }] }, "ops"],
    ["a member that is nobody", { roles: [{ name: "ops", members: ["alice"] }] }, "members"],
    ["an action twice", { actions: [action("a"), action("a")] }, "a"],
    ["an action without an effect", { actions: [{ type: "a" }] }, "effect"],
    ["terms of a role that there is not", { approval: { deciders: ["role:nobody"] } }, "role:nobody"],
    ["21 approvals", { approval: { requiredCount: 21 } }, "required_count"],
    ["more text than there may be", { cedar: `${rule}//${"x".repeat(262_144)}` }, "cedar"],
    [
      "a nest of parentheses",
      { cedar: `permit(principal, action, resource) when { ${"(".repeat(5_000)}true${")".repeat(5_000)} };` },
      "nested",
    ],
    ["NUL", { cedar: `${rule}\0` }, "cedar"],
  ])("%s", async (_name, policy, mention) => {
    const refused = await vainly(client, () => client.policy.putPolicy({ policy }));
    expect(refused).toMatchObject({ code: Code.InvalidArgument, reason: "INVALID_REQUEST" });
    expect(refused.message).toContain(mention);
    const attempts = {
      validate: () => client.policy.putPolicy({ policy, validateOnly: true }),
      evaluate: () => client.policy.evaluate({ context, policy }),
      simulate: () => client.policy.simulatePolicy({ policy }),
    };
    for (const [what, call] of Object.entries(attempts)) {
      expect({ what, reason: (await vainly(client, call)).reason }).toEqual({ what, reason: "INVALID_REQUEST" });
    }
    expect((await client.policy.getPolicy({})).policy).toEqual(kept);
    const { decision } = await client.policy.evaluate({ context });
    expect(decision).toMatchObject({ decision: Decision.DENY, matchedRule: "old", policyVersion: 1n });
  });
});

test("a put that has read another version is refused with the present etag", async () => {
  const call = () => client.policy.putPolicy({ policy: { cedar: rule, etag: "stale" } });
  expect(await vainly(client, call)).toMatchObject({
    code: Code.Aborted,
    reason: "ETAG_MISMATCH",
    metadata: { etag: kept?.etag },
  });
});

test("a rule that can not be evaluated denies", async () => {
  const policy = { cedar: "permit(principal, action, resource) when { context.arguments.amount < 5 };" };
  const { decision } = await client.policy.evaluate({ context, policy });
  expect(decision).toMatchObject({ decision: Decision.DENY, reasonCodes: ["POLICY_ERROR"] });
});

test("what nobody knows the effect of is denied, whatever permits it", async () => {
  const policy = { cedar: "permit(principal, action, resource);" };
  const { decision } = await client.policy.evaluate({ context: { action: { type: "launch" } }, policy });
  expect(decision).toMatchObject({ decision: Decision.DENY, reasonCodes: ["EFFECT_UNKNOWN"] });
});

test("a kill switch is not switched on without a reason; switching off what is off records nothing", async () => {
  const { policy } = client;
  expect((await vainly(client, () => policy.setKillSwitch({ on: true }))).reason).toBe("INVALID_REQUEST");
  const { killSwitch } = await quietly(client, () => policy.setKillSwitch({ on: false }));
  expect(killSwitch).toMatchObject({ on: false, position: 0n, scope: KillSwitchScope.WORKSPACE });
});

test("a simulation of a version that there is not, or from the future, changes nothing", async () => {
  expect((await vainly(client, () => client.policy.getPolicy({ version: 2n ** 63n }))).reason).toBe("POLICY_NOT_FOUND");
  const far = await quietly(client, () => client.policy.simulatePolicy({ afterPosition: 2n ** 64n - 1n }));
  expect(far).toMatchObject({ flips: [], evaluated: 0n, complete: true });
  const backwards = { afterPosition: 5n, endPosition: 1n };
  expect(await quietly(client, () => client.policy.simulatePolicy(backwards))).toMatchObject({ evaluated: 0n });
});

function action(type: string) {
  return { type, effect: ToolEffect.WRITE };
}
