import { expect, test } from "vitest";
import { type Bank, refund } from "../../examples/refund.ts";
import {
  ApprovalVerdict,
  PauseReason,
  reasonOf,
  RunStatus,
  ToolCallStatus,
  valueToJson,
} from "../../src/client/client.ts";
import { defineTool, type Handler, type HandlerError, ToolEffect } from "../../src/engine/worker.ts";
import { openTestSignalbox, recordRun, replayRun } from "../../src/testing/testing.ts";

const hour = 3_600_000;

/** A bank that remembers what it was told. */
function openBank(): Bank & { readonly transfers: number[] } {
  const transfers: number[] = [];
  return {
    transfers,
    find: () => Promise.resolve(undefined),
    async transfer(_key, cents) {
      transfers.push(cents);
      return `transfer ${transfers.length}`;
    },
  };
}

async function openRefund() {
  const bank = openBank();
  const handlers = { refund: refund(bank) };
  const signalbox = await openTestSignalbox({ handlers });
  const { run } = await signalbox.run({ handler: "refund" });
  return { bank, handlers, signalbox, run };
}

test("an outside write waits until somebody approves it, and a recording of it is replayed without", async () => {
  const { bank, handlers, signalbox, run } = await openRefund();
  await using _open = signalbox;
  expect(run.status).toBe(RunStatus.WAITING);
  expect(bank.transfers).toEqual([]);
  expect(signalbox.pendingApprovals()).toMatchObject([{ runId: run.runId, action: { type: "bank.transfer" } }]);
  await signalbox.approve();
  expect((await signalbox.resume(run.runId)).output).toBe("transfer 1");
  expect(bank.transfers).toEqual([1200]);
  await replayRun(await recordRun(signalbox.client, run.runId), { handlers });
  expect(bank.transfers).toEqual([1200]);
});

test("what is executed is what was approved last", async () => {
  const { bank, signalbox, run } = await openRefund();
  await using _open = signalbox;
  const approval = await signalbox.approve({ payload: { cents: 700 } });
  expect(valueToJson(approval.payload)).toEqual({ cents: 700 });
  const { toolCalls } = await signalbox.resume(run.runId);
  expect(bank.transfers).toEqual([700]);
  expect(toolCalls.map((call) => valueToJson(call.arguments))).toEqual([{ cents: 700 }]);
});

test("a denial is told to the handler in the words of who denied", async () => {
  const { bank, signalbox, run } = await openRefund();
  await using _open = signalbox;
  await signalbox.deny({ as: "user:alice", comment: "too much" });
  const { error, toolCalls } = await signalbox.resume(run.runId);
  expect(error).toMatchObject({ code: "APPROVAL_DENIED", message: "user:alice has denied it: too much" });
  expect(toolCalls).toMatchObject([{ status: ToolCallStatus.DENIED, error: { message: error?.message } }]);
  expect(bank.transfers).toEqual([]);
});

test("an approval lapses when its time has passed, and not before", async () => {
  const { bank, signalbox, run } = await openRefund();
  await using _open = signalbox;
  await signalbox.advance(23 * hour);
  expect(signalbox.pendingApprovals()).toHaveLength(1);
  await signalbox.advance(hour);
  expect(signalbox.pendingApprovals()).toEqual([]);
  expect((await signalbox.resume(run.runId)).error).toMatchObject({ code: "APPROVAL_EXPIRED" });
  expect(bank.transfers).toEqual([]);
});

test("an approval of a day is gone when the run sleeps for a week beside it", async () => {
  const handlers: Record<string, Handler> = {
    both: (ctx) =>
      Promise.all([
        ctx.sleep(7 * 24 * hour),
        ctx.approve({ action: "go" }).catch((error: unknown) => (error as HandlerError).code),
      ]).then(([, code]) => code),
  };
  await using signalbox = await openTestSignalbox({ handlers });
  expect((await signalbox.run({ handler: "both" })).output).toBe("APPROVAL_EXPIRED");
});

test("a policy that is put decides, and its message is the handler's", async () => {
  const send = defineTool({
    name: "mail.send",
    description: "Sends mail.",
    effect: ToolEffect.EXTERNAL_WRITE,
    input: { type: "object", properties: { to: { type: "string" } } },
    target: (args) => `mailto:${(args as { to: string }).to}`,
    run: () => "sent",
  });
  const handlers: Record<string, Handler> = { mail: (ctx, to) => ctx.tool(send, { to }) };
  await using signalbox = await openTestSignalbox({ handlers });
  const cedar = `
    permit(principal, action, resource) when { context.target like "mailto:*@example.com" };
    @reason("no mail to strangers")
    forbid(principal, action, resource) unless { context.target like "mailto:*@example.com" };`;
  await signalbox.client.policy.putPolicy({ policy: { cedar } });
  expect((await signalbox.run({ handler: "mail", input: "ada@example.com" })).output).toBe("sent");
  const { error } = await signalbox.run({ handler: "mail", input: "ada@elsewhere.example" });
  expect(error).toMatchObject({ code: "POLICY_DENIED", message: "no mail to strangers" });
});

test("a policy that changes while people think makes the run ask anew", async () => {
  const { bank, signalbox, run } = await openRefund();
  await using _open = signalbox;
  const [first] = signalbox.pendingApprovals();
  await signalbox.client.policy.putPolicy({
    policy: { note: "stricter", denyUnregistered: false, roles: [{ name: "cfo" }] },
  });
  await signalbox.resume(run.runId);
  const [second] = signalbox.pendingApprovals();
  expect(second?.approvalId).not.toBe(first?.approvalId);
  await signalbox.approve();
  await signalbox.resume(run.runId);
  expect(bank.transfers).toEqual([1200]);
});

test("a kill switch pauses a run that wants to write outside, approved or not, and lets it go on", async () => {
  const { bank, signalbox, run } = await openRefund();
  await using _open = signalbox;
  await signalbox.client.policy.setKillSwitch({ on: true, reason: "drill" });
  await signalbox.approve();
  const stopped = await signalbox.resume(run.runId);
  expect(stopped.run).toMatchObject({ status: RunStatus.PAUSED, pause: { reason: PauseReason.KILL_SWITCH } });
  expect(bank.transfers).toEqual([]);
  await signalbox.client.policy.setKillSwitch({ on: false });
  await signalbox.client.runs.resumeRun({ runId: run.runId });
  expect((await signalbox.resume(run.runId)).output).toBe("transfer 1");
});

test("ctx.approve passes the same gate, and a kill switch pauses it too", async () => {
  const handlers: Record<string, Handler> = {
    sign: (ctx) => ctx.approve({ action: "contract.sign", payload: { cents: 5 }, terms: { deciders: ["user:cfo"] } }),
  };
  await using signalbox = await openTestSignalbox({ handlers });
  await signalbox.client.policy.setKillSwitch({ on: true, reason: "drill" });
  const { run } = await signalbox.run({ handler: "sign" });
  expect(run).toMatchObject({ status: RunStatus.PAUSED, pause: { reason: PauseReason.KILL_SWITCH } });
  await signalbox.client.policy.setKillSwitch({ on: false });
  await signalbox.client.runs.resumeRun({ runId: run.runId });
  await signalbox.resume(run.runId);
  await expect(signalbox.approve()).rejects.toThrow(/may not decide/);
  await signalbox.approve({ as: "user:cfo", payload: { cents: 4 } });
  expect((await signalbox.resume(run.runId)).output).toEqual({ cents: 4 });
});

test("side by side, each goes on with its own approval, whatever the order", async () => {
  const bank = openBank();
  const pay = { tool: "bank.transfer", effect: ToolEffect.EXTERNAL_WRITE };
  const handlers: Record<string, Handler> = {
    three: (ctx) =>
      Promise.all(
        [1, 2, 3].map((cents) =>
          ctx.tool("pay", { ...pay, args: { cents } }, ({ toolCallId }) => bank.transfer(toolCallId, cents)),
        ),
      ),
  };
  await using signalbox = await openTestSignalbox({ handlers });
  const { run } = await signalbox.run({ handler: "three" });
  for (const { approvalId } of signalbox.pendingApprovals().toReversed()) {
    await signalbox.approve({ approvalId });
    await signalbox.resume(run.runId);
  }
  expect(bank.transfers).toEqual([3, 2, 1]);
  expect((await signalbox.resume(run.runId)).output).toEqual(["transfer 3", "transfer 2", "transfer 1"]);
});

test("what an agent does through its client does not count as a person", async () => {
  const handlers: Record<string, Handler> = {
    sly: async (ctx) => {
      const [approval] = (await ctx.client.approvals.listApprovals({ statuses: [] })).approvals;
      const { approvalId = "", payloadDigest = "" } = approval ?? {};
      const decision = { approvalId, verdict: ApprovalVerdict.APPROVE, payloadDigest };
      return ctx.client.approvals.decideApproval(decision).then(() => "approved", reasonOf);
    },
    ask: (ctx) => ctx.approve({ action: "go" }),
  };
  await using signalbox = await openTestSignalbox({ handlers });
  await signalbox.run({ handler: "ask" });
  const { agent } = await signalbox.client.agents.createAgent({ name: "Sly", handler: "sly" });
  expect((await signalbox.run({ agentId: agent?.agentId ?? "" })).output).toBe("PERMISSION_DENIED");
});

test("approving needs something to approve, and to know what", async () => {
  const handlers: Record<string, Handler> = {
    ask: (ctx) => Promise.all([ctx.approve({ action: "a" }), ctx.approve({ action: "b" })]),
  };
  await using signalbox = await openTestSignalbox({ handlers });
  await expect(signalbox.approve()).rejects.toThrow("say which approval you mean; there are none");
  await signalbox.run({ handler: "ask" });
  await expect(signalbox.deny()).rejects.toThrow(
    /say which approval you mean; there wait appr_\w+ \(a\), appr_\w+ \(b\)/,
  );
});
