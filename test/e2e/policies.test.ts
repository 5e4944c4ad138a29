import { create, equals } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import {
  Decision,
  KillSwitchScope,
  type PolicyDecision,
  PolicyDecisionSchema,
} from "../../gen/signalbox/v1/policy_pb.ts";
import { RunStatus, StepKind, ToolCallStatus, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, type SignalboxClient } from "../../src/client/client.ts";
import { compilePolicy } from "../../src/policy/compiled-policy.ts";
import { recordedDecision } from "../../src/policy/recorded-decision.ts";
import { decideAgain } from "../../src/policy/simulation.ts";
import { cedar } from "../policy/judging.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { type Claim, createAndClaim } from "./claims.ts";
import { reasonFor, refusal } from "./refusal.ts";
import { polled } from "./subscribed.ts";

const installation = await openInstallation({ servers: 2 });
afterAll(() => installation[Symbol.asyncDispose]());

const { WORKSPACE, INSTALLATION } = KillSwitchScope;
const { ALLOW, DENY, REQUIRE_APPROVAL } = Decision;
const permit = "permit(principal, action, resource);";

/** Clients of one new workspace, one for each server. */
function newClients(): [SignalboxClient, SignalboxClient] {
  const workspaceId = newWorkspaceId();
  const [one, other] = installation.servers;
  return [
    installation.client({ workspaceId, baseUrl: one!.url }),
    installation.client({ workspaceId, baseUrl: other!.url }),
  ];
}
const newClient = () => newClients()[0];

const action = (type: string, effect: ToolEffect = ToolEffect.EXTERNAL_WRITE) => ({ type, effect });
const put = (client: SignalboxClient, cedarText: string) => client.policy.putPolicy({ policy: { cedar: cedarText } });

async function evaluate(client: SignalboxClient, type = "mail.send"): Promise<PolicyDecision> {
  const { decision } = await client.policy.evaluate({ context: { action: action(type) } });
  if (decision === undefined) throw new Error("no decision");
  return decision;
}

function start(
  { leaseToken }: Claim,
  client: SignalboxClient,
  key: string,
  amount = 1,
  effect: ToolEffect = ToolEffect.EXTERNAL_WRITE,
) {
  return client.engine.startToolCall({ leaseToken, key, tool: "pay", effect, arguments: jsonValue({ amount }) });
}

describe("PutPolicy", () => {
  test("makes versions that every server goes by at once", async () => {
    const [one, other] = newClients();
    expect((await one.policy.getPolicy({})).policy).toMatchObject({ version: 0n, etag: "0", cedar: "" });
    const first = await put(one, permit);
    expect(first.policy).toMatchObject({ version: 1n, etag: "1", cedar: permit, position: first.position });
    expect(await evaluate(other)).toMatchObject({
      decision: ALLOW,
      policyVersion: 1n,
      policyHash: first.policy?.policyHash,
      matchedRule: "cedar.1",
    });
    const again = await put(other, permit);
    expect(again).toEqual(first);
    await put(other, "");
    expect((await evaluate(one)).decision).toBe(REQUIRE_APPROVAL);
    const { policy: kept } = await one.policy.getPolicy({ version: 1n });
    expect(kept).toEqual(first.policy);
    const { policies } = await other.policy.listPolicyVersions({ minPosition: (await polled(one)).at(-1)!.position });
    expect(policies.map(({ version }) => version)).toEqual([2n, 1n]);
    expect((await polled(one)).map(({ type }) => type)).toEqual(["policy.put", "policy.put"]);
  });

  test("refuses what does not parse, and the old one stays", async () => {
    const client = newClient();
    await put(client, "forbid(principal, action, resource);");
    expect(await refusal(put(client, "permit(principal,\n  acton, resource);"))).toMatchObject({
      code: Code.InvalidArgument,
      reason: "INVALID_REQUEST",
      message: expect.stringMatching(/line 2, column 3: .*acton/) as string,
    });
    expect(await evaluate(client)).toMatchObject({ decision: DENY, policyVersion: 1n });
  });

  test("checks without recording anything", async () => {
    const client = newClient();
    const checked = await client.policy.putPolicy({ policy: { cedar: permit }, validateOnly: true });
    expect(checked.policy).toMatchObject({ version: 0n, cedar: permit });
    expect(await reasonFor(client.policy.putPolicy({ policy: { cedar: "no" }, validateOnly: true }))).toBe(
      "INVALID_REQUEST",
    );
    expect((await client.policy.getPolicy({})).policy?.cedar).toBe("");
  });

  test("minds the etag", async () => {
    const client = newClient();
    await put(client, permit);
    const late = client.policy.putPolicy({ policy: { cedar: "// x", etag: "0" } });
    expect(await refusal(late)).toMatchObject({ code: Code.Aborted, reason: "ETAG_MISMATCH", metadata: { etag: "1" } });
  });

  test("is nothing for agents", async () => {
    const workspaceId = newWorkspaceId();
    const agent = installation.client({ workspaceId, onBehalfOf: ["agent:agt_a", "user:alice"] });
    expect(await reasonFor(put(agent, permit))).toBe("PERMISSION_DENIED");
  });

  test("knows no version that was not put", async () => {
    const client = newClient();
    expect(await refusal(client.policy.getPolicy({ version: 1n }))).toMatchObject({
      code: Code.NotFound,
      reason: "POLICY_NOT_FOUND",
    });
    const context = { action: action("x") };
    expect(await reasonFor(client.policy.evaluate({ context, policyVersion: 3n }))).toBe("POLICY_NOT_FOUND");
  });

  test("is read from a server that has just begun", async () => {
    const workspaceId = newWorkspaceId();
    await put(installation.client({ workspaceId }), permit);
    const [, second] = installation.servers;
    await second!.stop();
    await second!.start();
    const client = installation.client({ workspaceId, baseUrl: second!.url });
    expect(await evaluate(client)).toMatchObject({ decision: ALLOW, policyVersion: 1n });
  });
});

describe("Evaluate", () => {
  test("tries a kept version, or a policy that is not put", async () => {
    const client = newClient();
    await put(client, permit);
    await put(client, "forbid(principal, action, resource);");
    const context = { action: action("mail.send"), payload: jsonValue({ to: "a" }) };
    const kept = await client.policy.evaluate({ context, policyVersion: 1n });
    expect(kept.decision).toMatchObject({ decision: ALLOW, policyVersion: 1n });
    const policy = { cedar: '@id("to-a") forbid(principal, action, resource) when { context.arguments.to == "a" };' };
    const tried = await client.policy.evaluate({ context, policy });
    expect(tried.decision).toMatchObject({ decision: DENY, matchedRule: "to-a", policyVersion: 0n });
    expect(await reasonFor(client.policy.evaluate({ context, policy, policyVersion: 1n }))).toBe("INVALID_REQUEST");
    expect(await reasonFor(client.policy.evaluate({ context: {} }))).toBe("INVALID_REQUEST");
  });

  test("judges the caller where no principal is given", async () => {
    const workspaceId = newWorkspaceId();
    const alice = installation.client({ workspaceId, onBehalfOf: ["user:alice"] });
    await put(alice, 'permit(principal == User::"alice", action, resource);');
    expect((await evaluate(alice)).decision).toBe(ALLOW);
    expect((await evaluate(installation.client({ workspaceId }))).decision).toBe(REQUIRE_APPROVAL);
  });
});

describe("kill switches", () => {
  test("stop the external writes of one workspace on every server, and tell what they have met", async () => {
    const [one, other] = newClients();
    await put(one, permit);
    const claimed = await createAndClaim(one);
    const done = await start(claimed, one, "done");
    await one.engine.succeedToolCall({ leaseToken: claimed.leaseToken, toolCallId: done.toolCall!.toolCallId });
    await start(claimed, one, "under way");
    const flip = await other.policy.setKillSwitch({ on: true, reason: "a leak" });
    expect(flip.killSwitch).toMatchObject({ scope: WORKSPACE, on: true, reason: "a leak", position: flip.position });
    expect(await other.policy.setKillSwitch({ on: true, reason: "again" })).toEqual(flip);
    expect(await refusal(start(claimed, one, "stopped"))).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "KILL_SWITCH_ON",
      metadata: { kill_epoch: String(flip.position) },
    });
    await start(claimed, one, "inside", 1, ToolEffect.WRITE);
    const report = await other.policy.getKillSwitch({});
    expect(report).toMatchObject({
      workspace: flip.killSwitch,
      installation: { scope: INSTALLATION, on: false, position: 0n },
      externalWritesStopped: true,
      killEpoch: flip.position,
      stoppedCount: 2n,
      stopped: [
        { tool: "pay", underWay: true, status: ToolCallStatus.STARTED, runStatus: RunStatus.RUNNING },
        { tool: "pay", underWay: false, status: ToolCallStatus.GATED, runId: claimed.run.runId },
      ],
    });
    const first = await one.policy.getKillSwitch({ pageSize: 1 });
    const second = await one.policy.getKillSwitch({ pageSize: 1, pageToken: first.nextPageToken });
    expect([...first.stopped, ...second.stopped]).toEqual(report.stopped);
    expect(second.nextPageToken).toBe("");
    const heard = await other.engine.heartbeat({ leaseToken: claimed.leaseToken });
    expect(heard).toMatchObject({ killEpoch: flip.position, externalWritesStopped: true });
    await one.policy.setKillSwitch({ on: false });
    expect((await start(claimed, other, "stopped")).toolCall?.status).toBe(ToolCallStatus.STARTED);
    expect(await one.policy.getKillSwitch({})).toMatchObject({
      externalWritesStopped: false,
      stoppedCount: 2n,
      stopped: [{ underWay: true }, { underWay: false, status: ToolCallStatus.STARTED }],
    });
  });

  test("take no call for under way that had ended before the flip", async () => {
    const client = newClient();
    await put(client, permit);
    const claimed = await createAndClaim(client);
    const { leaseToken } = claimed;
    const { toolCall } = await start(claimed, client, "tried");
    await client.engine.failToolCall({ leaseToken, toolCallId: toolCall!.toolCallId, error: { code: "DOWN" } });
    await client.policy.setKillSwitch({ on: true, reason: "a leak" });
    await put(client, "forbid(principal, action, resource);");
    await client.policy.setKillSwitch({ on: false });
    expect(await reasonFor(start(claimed, client, "tried"))).toBe("POLICY_DENIED");
    expect(await client.policy.getKillSwitch({})).toMatchObject({ stopped: [], stoppedCount: 0n });
  });

  test("tell of steps that asked for an approval as well", async () => {
    const client = newClient();
    const { leaseToken, run } = await createAndClaim(client);
    const { step } = await client.engine.startStep({ leaseToken, key: "send", kind: StepKind.APPROVAL });
    const flip = await client.policy.setKillSwitch({ on: true, reason: "a leak" });
    const asked = client.approvals.requestApproval({ leaseToken, stepId: step!.stepId, action: { type: "send" } });
    expect(await reasonFor(asked)).toBe("KILL_SWITCH_ON");
    const { stopped } = await client.policy.getKillSwitch({});
    expect(stopped).toMatchObject([{ stepId: step!.stepId, toolCallId: "", tool: "send", runId: run.runId }]);
    expect(stopped[0]!.position).toBeGreaterThan(flip.position);
  });

  test("leave other workspaces alone, unless it is the installation's", async () => {
    const [one, two] = [newClient(), newClient()];
    await put(two, permit);
    await one.policy.setKillSwitch({ on: true, reason: "here" });
    expect((await evaluate(two)).decision).toBe(ALLOW);
    const { position } = await one.policy.setKillSwitch({ scope: INSTALLATION, on: true, reason: "everywhere" });
    try {
      expect(await evaluate(two)).toMatchObject({
        decision: DENY,
        reasonCodes: ["KILL_SWITCH_ON"],
        killEpoch: position,
      });
    } finally {
      await two.policy.setKillSwitch({ scope: INSTALLATION, on: false });
    }
    expect((await evaluate(two)).decision).toBe(ALLOW);
    expect((await evaluate(one)).decision).toBe(DENY);
  });

  test("say why they are on", async () => {
    expect(await reasonFor(newClient().policy.setKillSwitch({ on: true }))).toBe("INVALID_REQUEST");
  });

  test("of the installation stand where no call can go", async () => {
    const client = installation.client({ workspaceId: "ws_installation" });
    expect(await reasonFor(client.policy.getKillSwitch({}))).toBe("INVALID_REQUEST");
  });
});

describe("SimulatePolicy", () => {
  test("lists the recorded decisions that would flip, page by page", async () => {
    const client = newClient();
    await put(client, permit);
    const claimed = await createAndClaim(client);
    for (const amount of [5, 50, 500, 5_000]) await start(claimed, client, `pay ${amount}`, amount);
    await start(claimed, client, "look", 1, ToolEffect.READ);
    const policy = {
      cedar: `${permit}\n@id("large") forbid(principal, action, resource) when { context.arguments.amount > 49 };`,
    };
    const whole = await client.policy.simulatePolicy({ policy });
    expect(whole).toMatchObject({ evaluated: 5n, flipped: 3n, complete: true });
    expect(whole.flips.map(({ recorded, simulated }) => [recorded?.decision, simulated?.matchedRule])).toEqual(
      Array.from({ length: 3 }, () => [ALLOW, "large"]),
    );
    const pages = [];
    for (let after = 0n, complete = false; !complete;) {
      const page = await client.policy.simulatePolicy({ policy, afterPosition: after, pageSize: 1 });
      pages.push(...page.flips);
      ({ nextPosition: after, complete } = page);
    }
    expect(pages).toEqual(whole.flips);
    const [first] = whole.flips;
    const early = await client.policy.simulatePolicy({ policy, endPosition: first!.position });
    expect(early).toMatchObject({ flipped: 1n, complete: true });
    expect(await client.policy.simulatePolicy({})).toMatchObject({ evaluated: 5n, flipped: 0n, complete: true });
    expect(await reasonFor(client.policy.simulatePolicy({ policy: { cedar: "no" } }))).toBe("INVALID_REQUEST");
  });

  test("finds that every recorded decision makes itself again", async () => {
    const client = newClient();
    const texts = [
      '@decision("require_approval") forbid(principal, action, resource) when { context.arguments.amount > 49 };',
      "permit(principal, action, resource) when { context.arguments.amount < 9 };",
    ];
    await put(client, texts.join("\n"));
    const claimed = await createAndClaim(client);
    await start(claimed, client, "small", 5);
    expect(await reasonFor(start(claimed, client, "middle", 20))).toBe("APPROVAL_REQUIRED");
    expect(await reasonFor(start(claimed, client, "large", 50.5))).toBe("POLICY_DENIED");
    await client.policy.setKillSwitch({ on: true, reason: "test" });
    expect(await reasonFor(start(claimed, client, "stopped", 5))).toBe("KILL_SWITCH_ON");
    const { policy } = await client.policy.getPolicy({});
    const compiled = compilePolicy(policy!, cedar);
    const recorded = (await polled(client)).flatMap((event) => recordedDecision(event) ?? []);
    expect(recorded.map(({ decision }) => decision.decision)).toEqual([ALLOW, REQUIRE_APPROVAL, DENY, DENY]);
    for (const each of recorded) {
      expect(
        equals(PolicyDecisionSchema, decideAgain(compiled, each), create(PolicyDecisionSchema, each.decision)),
      ).toBe(true);
    }
  });
});
