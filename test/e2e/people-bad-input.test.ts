import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import { type Approval, ApprovalStatus, ApprovalVerdict } from "../../gen/signalbox/v1/approval_pb.ts";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { StepKind, ToolCallStatus, ToolEffect, type WakeCondition } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, type SignalboxClient, valueToJson } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { claim } from "./claims.ts";
import { approvalOf, askAgain, askByCall, askByStep, decision, mail, mailOf } from "./people.ts";
import { allOf, quietly, reasons, recordedSince, vainly } from "./recorded.ts";
import { headPosition } from "./subscribed.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

const newClient = () => installation.client({ workspaceId: newWorkspaceId() });
const { APPROVE, DENY, HOLD } = ApprovalVerdict;

/** Everything that somebody can say about an approval. */
function sayings(client: SignalboxClient, approval: Approval): Record<string, () => Promise<unknown>> {
  const { approvals } = client;
  const { approvalId, payloadDigest } = approval;
  const edit = { approvalId, payloadDigest, payload: jsonValue({ text: "something else" }) };
  return {
    approve: () => approvals.decideApproval(decision(approval)),
    deny: () => approvals.decideApproval(decision(approval, DENY)),
    hold: () => approvals.decideApproval(decision(approval, HOLD)),
    edit: () => approvals.editApproval(edit),
    delegate: () => approvals.delegateApproval({ approvalId, delegateTo: "user:carol" }),
  };
}

const everything = ["approve", "deny", "hold", "edit", "delegate"];

describe("deciding", () => {
  test("the same again records nothing, and answers the same", async () => {
    const client = newClient();
    const [alice, bob] = [client.onBehalfOf("user:alice"), client.onBehalfOf("user:bob")];
    for (const verdict of [HOLD, DENY, APPROVE]) {
      const { approval } = await askByCall(client);
      const said = decision(approval, verdict);
      const first = await alice.approvals.decideApproval(said);
      const again = await quietly(client, () => alice.approvals.decideApproval(said));
      expect(again.approval).toEqual(first.approval);
      expect(again.approval?.decisions).toHaveLength(1);
      if (verdict === HOLD) continue;
      expect((await vainly(client, () => bob.approvals.decideApproval(said))).reason).toBe("APPROVAL_ALREADY_DECIDED");
    }
  });

  test.each([
    ["approved", APPROVE, ["deny", "hold", "edit", "delegate"]],
    ["denied", DENY, ["approve", "hold", "edit", "delegate"]],
  ])("otherwise once it is %s is refused with the status", async (status, verdict, otherwise) => {
    const client = newClient();
    const { approval } = await askByCall(client);
    await client.approvals.decideApproval(decision(approval, verdict));
    const calls = sayings(client, approval);
    for (const name of otherwise) {
      expect({ name, ...(await vainly(client, calls[name]!)) }).toMatchObject({
        name,
        code: Code.FailedPrecondition,
        reason: "APPROVAL_ALREADY_DECIDED",
        metadata: { approval_id: approval.approvalId, status: status.toUpperCase() },
      });
    }
  });

  test("after it has expired is refused, and so is its use, whether anybody had approved it or not", async () => {
    const client = newClient();
    const terms = { ttl: { seconds: 1n } };
    const [open, approved] = [await askByStep(client, { terms }), await askByStep(client, { terms })];
    await client.approvals.decideApproval(decision(approved.approval));
    for (const { claimed, approval } of [open, approved]) {
      const { approvalId } = approval;
      await until(async () => (await approvalOf(client, approvalId)).status === ApprovalStatus.EXPIRED, {
        what: "the approval to expire",
      });
      const consume = () => client.approvals.consumeApproval({ leaseToken: claimed.leaseToken, approvalId });
      expect(await reasons(client, { ...sayings(client, approval), consume })).toEqual(
        allOf([...everything, "consume"], "APPROVAL_EXPIRED"),
      );
    }
  });

  test("after it was used is refused, but for repeating what was said", async () => {
    const client = newClient();
    const { claimed, approval } = await askByStep(client);
    const { leaseToken } = claimed;
    const { approvalId } = approval;
    await client.approvals.decideApproval(decision(approval));
    const { approval: used } = await client.approvals.consumeApproval({ leaseToken, approvalId });
    expect(used).toMatchObject({ status: ApprovalStatus.CONSUMED, payload: approval.payload });
    const { approve, ...others } = sayings(client, approval);
    expect(await reasons(client, others)).toEqual(allOf(["deny", "hold", "edit", "delegate"], "APPROVAL_CONSUMED"));
    await quietly(client, approve!);
    expect((await vainly(client, sayings(client.onBehalfOf("user:bob"), approval)["approve"]!)).reason).toBe(
      "APPROVAL_CONSUMED",
    );
    const again = await quietly(client, () => client.approvals.consumeApproval({ leaseToken, approvalId }));
    expect(again.approval).toEqual(used);
  });

  test("on another tenant's is answered like on one that never was", async () => {
    const [client, stranger] = [newClient(), newClient()];
    const { approval } = await askByCall(client);
    const before = await headPosition(client);
    expect(await reasons(stranger, sayings(stranger, approval))).toEqual(allOf(everything, "APPROVAL_NOT_FOUND"));
    const mine = await askByStep(stranger);
    const { approvalId } = approval;
    const uses = {
      get: () => stranger.approvals.getApproval({ approvalId }),
      consume: () => stranger.approvals.consumeApproval({ leaseToken: mine.claimed.leaseToken, approvalId }),
    };
    expect(await reasons(stranger, uses)).toEqual(allOf(["get", "consume"], "APPROVAL_NOT_FOUND"));
    expect((await stranger.approvals.listApprovals({ runId: approval.runId })).approvals).toEqual([]);
    expect(await recordedSince(client, before)).toEqual([]);
    expect(await approvalOf(client, approvalId)).toEqual(approval);
  });

  test("without the digest of what is approved, or with another one, is refused", async () => {
    const client = newClient();
    const { approval } = await askByCall(client);
    const blind = { ...decision(approval), payloadDigest: "" };
    const other = { ...decision(approval), payloadDigest: "0".repeat(64) };
    const calls = {
      blind: () => client.approvals.decideApproval(blind),
      other: () => client.approvals.decideApproval(other),
      edit: () => client.approvals.editApproval({ ...other, payload: jsonValue(1) }),
    };
    const mismatch = "PAYLOAD_MISMATCH";
    expect(await reasons(client, calls)).toEqual({ blind: "INVALID_REQUEST", other: mismatch, edit: mismatch });
  });
});

describe("where much is at stake", () => {
  const zone = Zone.HIGH_STAKES;

  test("nobody approves what they have asked for, through whatever program; they may hold and deny it", async () => {
    const client = newClient();
    const alice = client.onBehalfOf("user:alice");
    const { approval } = await askByCall(alice, {}, { zone });
    expect(approval.requestedBy?.onBehalfOf).toMatchObject([{ id: "alice" }]);
    for (const self of [alice, client.onBehalfOf("service:gateway", "user:alice")]) {
      expect(await vainly(client, sayings(self, approval)["approve"]!)).toMatchObject({
        code: Code.PermissionDenied,
        reason: "SELF_APPROVAL",
      });
    }
    await alice.approvals.decideApproval(decision(approval, HOLD));
    const denied = await alice.approvals.decideApproval(decision(approval, DENY));
    expect(denied.approval?.status).toBe(ApprovalStatus.DENIED);
  });

  test("nobody approves what they have written themselves, but others do", async () => {
    const client = newClient();
    const [alice, bob, carol] = ["alice", "bob", "carol"].map((name) => client.onBehalfOf(`user:${name}`));
    const { approval } = await askByCall(alice!, {}, { zone });
    const { approvalId, payloadDigest } = approval;
    const payload = jsonValue({ text: "kind regards" });
    const edited = (await bob!.approvals.editApproval({ approvalId, payloadDigest, payload })).approval!;
    expect(edited.payloadDigest).not.toBe(payloadDigest);
    expect((await vainly(client, sayings(bob!, edited)["approve"]!)).reason).toBe("SELF_APPROVAL");
    expect((await vainly(client, sayings(carol!, approval)["approve"]!)).reason).toBe("PAYLOAD_MISMATCH");
    await carol!.approvals.decideApproval(decision(edited));
    expect(await approvalOf(client, approvalId)).toMatchObject({ status: ApprovalStatus.APPROVED, edited: true });
  });

  test("no agent decides, least of all the one that asks, and no agent changes the rules", async () => {
    const client = newClient();
    const { agent } = await client.agents.createAgent({ name: "planner", handler: "planner" });
    const agentId = agent?.agentId ?? "";
    const { approval } = await askByCall(client, {}, { agentId, zone });
    for (const who of [`agent:${agentId}`, "agent:agt_other"]) {
      const acting = client.onBehalfOf(who, "user:alice");
      const { approve, deny, hold, edit } = sayings(acting, approval);
      const calls = {
        approve,
        deny,
        hold,
        edit,
        put: () => acting.policy.putPolicy({ policy: { cedar: "permit(principal, action, resource);" } }),
        flip: () => acting.policy.setKillSwitch({ on: false, reason: "let me" }),
      } as Record<string, () => Promise<unknown>>;
      expect(await reasons(client, calls)).toEqual(allOf(Object.keys(calls), "PERMISSION_DENIED"));
    }
  });
});

describe("what is executed is what was approved:", () => {
  test("other arguments than those that were held back are refused, before and after the approval", async () => {
    const client = newClient();
    const { claimed, approval } = await askByCall(client, { arguments: jsonValue({ to: "ada", text: "hello" }) });
    const { leaseToken } = claimed;
    const ask = (args: object) => client.engine.startToolCall({ leaseToken, ...mail, arguments: jsonValue(args) });
    const swapped = () => ask({ to: "eve", text: "hello" });
    expect((await vainly(client, swapped)).reason).toBe("PAYLOAD_MISMATCH");
    await client.approvals.decideApproval(decision(approval));
    expect((await vainly(client, swapped)).reason).toBe("PAYLOAD_MISMATCH");
    expect((await approvalOf(client, approval.approvalId)).status).toBe(ApprovalStatus.APPROVED);
    // The same arguments in another order are the same.
    const { toolCall } = await ask({ text: "hello", to: "ada" });
    expect(toolCall).toMatchObject({ status: ToolCallStatus.STARTED, approvalId: approval.approvalId });
    expect(valueToJson(toolCall?.arguments)).toEqual({ to: "ada", text: "hello" });
    const { incidents } = await until(
      async () => {
        const found = await client.incidents.listIncidents({ minPosition: await headPosition(client) });
        return found.incidents.length > 0 && found;
      },
      { what: "the incident" },
    );
    expect(incidents).toMatchObject([
      {
        occurrenceCount: 1,
        links: expect.arrayContaining(
          [{ type: "run", id: claimed.run.runId }].map((link) => expect.objectContaining(link) as object),
        ) as object,
      },
    ]);
  });

  test.each([
    ["another target", { target: "mailto:eve@example.com" }],
    ["another tool", { tool: "send_money" }],
    ["a smaller effect", { effect: ToolEffect.READ }],
    ["another promise", { idempotent: true }],
  ])("the same arguments with %s are not, before and after the approval", async (_what, swapped) => {
    const client = newClient();
    const { claimed, approval } = await askByCall(client);
    const { leaseToken } = claimed;
    const ask = (more: object) => client.engine.startToolCall({ leaseToken, ...mailOf("hello"), ...more });
    const refused = await vainly(client, () => ask(swapped));
    expect(["APPROVAL_REQUIRED", "PAYLOAD_MISMATCH"]).toContain(refused.reason);
    await client.approvals.decideApproval(decision(approval));
    expect((await vainly(client, () => ask(swapped))).reason).toBe("PAYLOAD_MISMATCH");
    const { toolCall } = await ask({});
    const { tool, target, effect } = mail;
    expect(toolCall).toMatchObject({ status: ToolCallStatus.STARTED, tool, target, effect, idempotent: false });
  });

  test("a step that asks again asks the same, or is refused", async () => {
    const client = newClient();
    const { claimed, stepId, approval } = await askByStep(client);
    const { leaseToken } = claimed;
    const question = { leaseToken, stepId, action: { type: "launch", target: "pad 39A" } };
    const ask = (payload: object) => client.approvals.requestApproval({ ...question, payload: jsonValue(payload) });
    expect((await vainly(client, () => ask({ countdown: 0 }))).reason).toBe("PAYLOAD_MISMATCH");
    expect((await quietly(client, () => ask({ countdown: 10 }))).approval).toEqual(approval);
  });

  test("an approval that is not decided, held or denied is good for nothing", async () => {
    const client = newClient();
    const { claimed, approval } = await askByStep(client);
    const { leaseToken } = claimed;
    const { approvalId } = approval;
    const consume = () => client.approvals.consumeApproval({ leaseToken, approvalId });
    expect((await vainly(client, consume)).reason).toBe("APPROVAL_REQUIRED");
    await client.approvals.decideApproval(decision(approval, HOLD));
    expect((await vainly(client, consume)).reason).toBe("APPROVAL_REQUIRED");
    await client.approvals.decideApproval(decision(approval, DENY));
    expect(await vainly(client, consume)).toMatchObject({
      reason: "APPROVAL_DENIED",
      metadata: { approval_id: approvalId },
    });
  });

  test("a call that was denied stays denied", async () => {
    const client = newClient();
    const { claimed, approval } = await askByCall(client);
    await client.approvals.decideApproval({ ...decision(approval, DENY), comment: "not on a Sunday" });
    const ask = () => client.engine.startToolCall({ leaseToken: claimed.leaseToken, ...mailOf("hello") });
    const before = await headPosition(client);
    await expect(ask()).rejects.toThrow("not on a Sunday");
    expect((await recordedSince(client, before)).map(({ type }) => type)).toEqual(["tool_call.denied"]);
    expect((await vainly(client, ask)).reason).toBe("APPROVAL_DENIED");
  });

  test("an approval under a policy that has changed is void, and the call asks anew", async () => {
    const client = newClient();
    const [step, call] = [await askByStep(client), await askByCall(client)];
    for (const { approval } of [step, call]) await client.approvals.decideApproval(decision(approval));
    await client.policy.putPolicy({
      policy: { cedar: '@id("calm") forbid(principal, action, resource) when { context.target == "nowhere" };' },
    });
    const { leaseToken } = step.claimed;
    const { approvalId } = step.approval;
    const consume = () => client.approvals.consumeApproval({ leaseToken, approvalId });
    expect((await vainly(client, consume)).reason).toBe("INVALID_STATE");
    const anew = await askAgain(client, call.claimed.leaseToken);
    expect(anew).toMatchObject({ status: ApprovalStatus.PENDING, policyVersion: 1n, payload: call.approval.payload });
    expect(anew.approvalId).not.toBe(call.approval.approvalId);
    expect(await approvalOf(client, call.approval.approvalId)).toMatchObject({ status: ApprovalStatus.CANCELED });
  });
});

describe("an approval", () => {
  test("of one run is no use to another one", async () => {
    const client = newClient();
    const [a, b] = [await askByStep(client), await askByStep(client)];
    await client.approvals.decideApproval(decision(a.approval));
    const { leaseToken } = b.claimed;
    const { approvalId } = a.approval;
    const conditions = [{ condition: { case: "approval", value: { approvalId } } } as const];
    const calls = {
      consume: () => client.approvals.consumeApproval({ leaseToken, approvalId }),
      wait: () => client.engine.suspendRun({ leaseToken, conditions: conditions as unknown as WakeCondition[] }),
      request: () => client.approvals.requestApproval({ leaseToken, stepId: a.stepId, action: { type: "launch" } }),
    };
    expect(await reasons(client, calls)).toEqual({
      consume: "APPROVAL_NOT_FOUND",
      wait: "INVALID_STATE",
      request: "STEP_NOT_FOUND",
    });
    expect((await approvalOf(client, approvalId)).status).toBe(ApprovalStatus.APPROVED);
  });

  test("of a tool call is not used by ConsumeApproval, nor that of a step by another step", async () => {
    const client = newClient();
    const { claimed, approval } = await askByCall(client);
    const { leaseToken } = claimed;
    await client.approvals.decideApproval(decision(approval));
    const consume = () => client.approvals.consumeApproval({ leaseToken, approvalId: approval.approvalId });
    expect((await vainly(client, consume)).reason).toBe("APPROVAL_NOT_FOUND");
  });

  test("is out of reach for a worker that has lost the run, and there for the one that has it", async () => {
    const client = newClient();
    const { claimed: lost, stepId, approval } = await askByStep(client);
    const { handler } = lost.run;
    const called = await askAgain(client, lost.leaseToken);
    for (const each of [approval, called]) await client.approvals.decideApproval(decision(each));
    await client.engine.releaseRun({ leaseToken: lost.leaseToken });
    const { leaseToken } = await claim(client, handler, "second");
    const { approvalId } = approval;
    const uses = (token: string) => ({
      call: () => client.engine.startToolCall({ leaseToken: token, ...mailOf("hello") }),
      consume: () => client.approvals.consumeApproval({ leaseToken: token, approvalId }),
      request: () =>
        client.approvals.requestApproval({
          leaseToken: token,
          stepId,
          action: { type: "launch", target: "pad 39A" },
          payload: approval.payload!,
        }),
    });
    expect(await reasons(client, uses(lost.leaseToken))).toEqual(allOf(["call", "consume", "request"], "LEASE_LOST"));
    await client.engine.startStep({ leaseToken, key: "ask", kind: StepKind.APPROVAL });
    const before = await headPosition(client);
    const again = uses(leaseToken);
    for (const use of [again.consume, again.call, again.consume, again.call]) await use();
    expect((await recordedSince(client, before)).map(({ type }) => type)).toEqual([
      "approval.consumed",
      "approval.consumed",
      "tool_call.started",
    ]);
  });
});
