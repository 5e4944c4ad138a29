import { afterAll, expect, test } from "vitest";
import {
  type Approval,
  ApprovalStatus,
  ApprovalVerdict,
  jsonValue,
  PauseReason,
  type Run,
  RunStatus,
  type SignalboxClient,
  ToolCallStatus,
  valueToJson,
} from "../../src/client/client.ts";
import {
  defineTool,
  type Handler,
  type HandlerError,
  ToolEffect,
  type WorkerOptions,
} from "../../src/engine/worker.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { subscribed } from "./subscribed.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

const transfer = { to: "ada", cents: 500 };

/** A workspace with a worker whose transfers people approve. */
function openBank(handler?: Handler, options: Partial<WorkerOptions> = {}) {
  const workspaceId = newWorkspaceId();
  const made: unknown[] = [];
  const tool = defineTool({
    name: "bank.transfer",
    description: "Transfers money.",
    effect: ToolEffect.EXTERNAL_WRITE,
    input: { type: "object", properties: { to: { type: "string" }, cents: { type: "integer" } }, required: ["cents"] },
    target: (args) => `account:${(args as { to: string }).to}`,
    run(args) {
      made.push(args);
      return `transfer ${made.length}`;
    },
  });
  const pay: Handler = handler ?? ((ctx) => ctx.tool("bank.transfer", transfer));
  installation.worker({ workspaceId, handlers: { pay }, tools: [tool], ...options });
  const client = installation.client({ workspaceId, onBehalfOf: ["user:alice"] });
  return { workspaceId, client, made };
}

async function start({ runs }: SignalboxClient): Promise<string> {
  const { run } = await runs.createRun({ handler: "pay" });
  return run?.runId ?? "";
}

/** The approvals of the run that wait, once there are so many and the run waits for them. */
function inbox({ approvals, runs }: SignalboxClient, runId: string, count = 1): Promise<Approval[]> {
  return until(
    async () => {
      const { run } = await runs.getRun({ runId });
      const page = await approvals.listApprovals({ runId, statuses: [ApprovalStatus.PENDING], assignee: "user:bob" });
      return run?.status === RunStatus.WAITING && page.approvals.length === count && page.approvals;
    },
    { what: "the approvals" },
  );
}

async function decide(
  { approvals }: SignalboxClient,
  { approvalId, payloadDigest }: Approval,
  verdict: ApprovalVerdict = ApprovalVerdict.APPROVE,
  comment = "",
): Promise<void> {
  await approvals.decideApproval({ approvalId, payloadDigest, verdict, comment });
}

async function ended({ runs }: SignalboxClient, runId: string): Promise<Run | undefined> {
  return (await runs.waitRun({ runId })).run;
}

test.each(["unary", "stream"] as const)(
  "a write waits in a live inbox, is approved from elsewhere, and is made once with these very bytes (%s)",
  async (transport) => {
    const { client, made, workspaceId } = openBank(undefined, { transport });
    await using live = await subscribed(client, { filter: { types: ["approval.*"] } });
    const runId = await start(client);
    const event = await until(() => live.events.find(({ type }) => type === "approval.requested"), {
      what: "the event",
    });
    const { run } = await until(
      async () => {
        const answer = await client.runs.getRun({ runId });
        return answer.run?.status === RunStatus.WAITING && answer;
      },
      { what: "the run to wait" },
    );
    expect(run?.waitingOn?.conditions).toMatchObject([{ condition: { value: { approvalId: event.stream?.id } } }]);
    expect(made).toEqual([]);
    const bob = installation.client({ workspaceId, onBehalfOf: ["user:bob"] });
    const { approval } = await bob.approvals.getApproval({ approvalId: event.stream?.id ?? "" });
    expect(approval).toMatchObject({ runId, action: { type: "bank.transfer", target: "account:ada" } });
    expect(valueToJson(approval?.payload)).toEqual(transfer);
    if (approval !== undefined) await decide(bob, approval);
    expect(valueToJson((await ended(client, runId))?.output)).toBe("transfer 1");
    expect(made).toEqual([transfer]);
    const types = await until(() => live.events.length === 3 && live.events.map(({ type }) => type), {
      what: "all events of the approval",
    });
    expect(types).toEqual(["approval.requested", "approval.decided", "approval.consumed"]);
  },
);

test("what is executed is what was approved last", async () => {
  const { client, made } = openBank();
  const runId = await start(client);
  const [approval] = await inbox(client, runId);
  if (approval === undefined) throw new Error("no approval");
  const { approvalId, payloadDigest } = approval;
  const payload = jsonValue({ to: "ada", cents: 400 });
  const { approval: edited } = await client.approvals.editApproval({ approvalId, payload, payloadDigest });
  await expect(decide(client, approval)).rejects.toThrow(/digest|payload/);
  if (edited !== undefined) await decide(client, edited);
  await ended(client, runId);
  expect(made).toEqual([{ to: "ada", cents: 400 }]);
});

test("arguments that were edited into nonsense fail the call, and nothing is executed", async () => {
  const { client, made } = openBank();
  const runId = await start(client);
  const [approval] = await inbox(client, runId);
  const { approvalId = "", payloadDigest = "" } = approval ?? {};
  const payload = jsonValue({ cents: "much" });
  const { approval: edited } = await client.approvals.editApproval({ approvalId, payload, payloadDigest });
  if (edited !== undefined) await decide(client, edited);
  expect(await ended(client, runId)).toMatchObject({ error: { code: "TOOL_ARGUMENTS_INVALID", retryable: false } });
  expect(made).toEqual([]);
});

test("a denial is told to the handler, on record and for good", async () => {
  const codes: string[] = [];
  const { client, made } = openBank(async (ctx) => {
    const refused = (error: unknown) => void codes.push(`${(error as HandlerError).code} ${(error as Error).message}`);
    await ctx.tool("bank.transfer", transfer).catch(refused);
    if (ctx.attempt === 2) throw new Error("again");
  });
  const runId = await start(client);
  const [approval] = await inbox(client, runId);
  if (approval !== undefined) await decide(client, approval, ApprovalVerdict.DENY, "too dear");
  expect(await ended(client, runId)).toMatchObject({ status: RunStatus.SUCCEEDED });
  expect(codes).toHaveLength(2);
  expect(codes[0]).toMatch(/^APPROVAL_DENIED .*too dear/);
  // What a replay says comes from the record: it is the very same.
  expect(codes[1]).toBe(codes[0]);
  expect(made).toEqual([]);
});

test("a hold stops the clock, and what is held can be approved", async () => {
  const { client, made } = openBank();
  const runId = await start(client);
  const [approval] = await inbox(client, runId);
  if (approval === undefined) throw new Error("no approval");
  await decide(client, approval, ApprovalVerdict.HOLD, "I ask the boss");
  const { approval: held } = await client.approvals.getApproval({ approvalId: approval.approvalId });
  expect(held).toMatchObject({ status: ApprovalStatus.HELD });
  expect(held?.expireTime).toBeUndefined();
  await decide(client, approval);
  await ended(client, runId);
  expect(made).toEqual([transfer]);
});

test("nobody's answer is no denial: the approval lapses and the run hears of it", async () => {
  const { client, made } = openBank();
  await client.policy.putPolicy({ policy: { approval: { ttl: { seconds: 1n } } } });
  const runId = await start(client);
  expect(await ended(client, runId)).toMatchObject({ error: { code: "APPROVAL_EXPIRED" } });
  expect(made).toEqual([]);
});

test("what the policy denies is never made, and says why", async () => {
  const { client, made } = openBank();
  const cedar = `@reason("no transfers today") forbid(principal, action, resource);`;
  await client.policy.putPolicy({ policy: { cedar } });
  const runId = await start(client);
  const run = await ended(client, runId);
  expect(run).toMatchObject({ error: { code: "POLICY_DENIED", message: "no transfers today" } });
  const { toolCalls } = await client.runs.listToolCalls({ runId, minPosition: run?.position ?? 0n });
  expect(toolCalls).toMatchObject([{ status: ToolCallStatus.DENIED, error: { message: "no transfers today" } }]);
  expect(made).toEqual([]);
});

test("a kill switch pauses the run before the write, approved or not, and a resumed one makes it", async () => {
  const { client, made } = openBank();
  const runId = await start(client);
  const [approval] = await inbox(client, runId);
  await client.policy.setKillSwitch({ on: true, reason: "drill" });
  if (approval !== undefined) await decide(client, approval);
  const { run } = await until(
    async () => {
      const answer = await client.runs.getRun({ runId });
      return answer.run?.status === RunStatus.PAUSED && answer;
    },
    { what: "the run to pause" },
  );
  expect(run?.pause?.reason).toBe(PauseReason.KILL_SWITCH);
  expect(made).toEqual([]);
  await client.policy.setKillSwitch({ on: false });
  await client.runs.resumeRun({ runId });
  expect(valueToJson((await ended(client, runId))?.output)).toBe("transfer 1");
  expect(made).toEqual([transfer]);
});

test.each([[[0, 1, 2]], [[2, 0, 1]]])("side by side, each goes on as it is decided: %j", async (order) => {
  const { client, made } = openBank(async (ctx) => {
    const heard: unknown[] = [];
    const hear = (what: unknown) => void heard.push(what);
    await Promise.all([
      ctx.tool("bank.transfer", transfer).then(() => hear("ada")),
      ctx.approve({ action: "contract.sign", payload: "contract" }).then(hear),
      ctx.tool("bank.transfer", { to: "bob", cents: 1 }).catch((error: unknown) => hear((error as HandlerError).code)),
    ]);
    return heard;
  });
  const runId = await start(client);
  const open = await inbox(client, runId, 3);
  const names = ["ada", "contract", "APPROVAL_DENIED"];
  const approvals = ["account:ada", "", "account:bob"].map((target) =>
    open.find(({ action }) => action?.target === target),
  );
  for (const [done, index] of order.entries()) {
    const approval = approvals[index];
    const verdict = index === 2 ? ApprovalVerdict.DENY : ApprovalVerdict.APPROVE;
    if (approval !== undefined) await decide(client, approval, verdict);
    if (done < 2) await inbox(client, runId, 2 - done);
  }
  expect(valueToJson((await ended(client, runId))?.output)).toEqual(order.map((index) => names[index]));
  expect(made).toEqual([transfer]);
});

test("ctx.approve waits for people and answers what they made of the payload", async () => {
  const { client } = openBank((ctx) =>
    ctx.approve({ action: "contract.sign", payload: { cents: 5 }, message: "please" }),
  );
  const runId = await start(client);
  const [approval] = await inbox(client, runId);
  const { approvalId = "", payloadDigest = "", message } = approval ?? {};
  expect(message).toBe("please");
  const payload = jsonValue({ cents: 4 });
  const { approval: edited } = await client.approvals.editApproval({ approvalId, payload, payloadDigest });
  if (edited !== undefined) await decide(client, edited);
  const run = await ended(client, runId);
  expect(valueToJson(run?.output)).toEqual({ cents: 4 });
  const { steps } = await client.runs.listSteps({ runId, minPosition: run?.position ?? 0n });
  expect(steps).toMatchObject([{ key: "contract.sign", approvalId }]);
});

test("a kill switch pauses a run that asks people, and it asks them when it goes on", async () => {
  const { client } = openBank((ctx) => ctx.approve({ action: "contract.sign" }));
  await client.policy.setKillSwitch({ on: true, reason: "drill" });
  const runId = await start(client);
  await until(async () => (await client.runs.getRun({ runId })).run?.status === RunStatus.PAUSED, { what: "a pause" });
  await client.policy.setKillSwitch({ on: false });
  await client.runs.resumeRun({ runId });
  const [approval] = await inbox(client, runId);
  if (approval !== undefined) await decide(client, approval);
  expect(await ended(client, runId)).toMatchObject({ status: RunStatus.SUCCEEDED });
});

test("a policy that changes while people think makes the run ask anew", async () => {
  const { client, made } = openBank();
  const runId = await start(client);
  const [first] = await inbox(client, runId);
  await client.policy.putPolicy({ policy: { roles: [{ name: "cfo", members: ["user:cfo"] }] } });
  const second = await until(
    async () => {
      const [approval] = await inbox(client, runId);
      return approval?.approvalId !== first?.approvalId && approval;
    },
    { what: "another approval" },
  );
  await decide(client, second);
  await ended(client, runId);
  expect(made).toEqual([transfer]);
});
