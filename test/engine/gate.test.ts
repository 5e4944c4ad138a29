import { expect, test } from "vitest";
import {
  ApprovalStatus,
  PauseReason,
  PrincipalType,
  RunStatus,
  ToolCallStatus,
  valueToJson,
} from "../../src/client/client.ts";
import {
  defineTool,
  type HandlerContext,
  HandlerError,
  type Tool,
  ToolEffect,
  type WorkerLog,
} from "../../src/engine/worker.ts";
import { until } from "../support/until.ts";
import { type FakeEngine, fakeEngine, type FakeRun } from "./fake-engine.ts";
import { startWorker } from "./running.ts";

/** A bank whose transfers people approve; `made` has the arguments of each. */
function bank(): { readonly tool: Tool; readonly made: unknown[] } {
  const made: unknown[] = [];
  const tool = defineTool({
    name: "transfer",
    description: "Transfers money.",
    effect: ToolEffect.EXTERNAL_WRITE,
    input: {
      type: "object",
      properties: { to: { type: "string" }, cents: { type: "integer" } },
      required: ["to", "cents"],
    },
    target: (args) => `account:${(args as { to: string }).to}`,
    run(args) {
      made.push(args);
      return `transfer ${made.length}`;
    },
  });
  return { tool, made };
}

function gated(judge: FakeEngine["gate"]["judge"] = () => "ask"): FakeEngine {
  const engine = fakeEngine();
  engine.gate.judge = judge;
  return engine;
}

function start(engine: FakeEngine, it: (ctx: HandlerContext) => unknown, tools: readonly Tool[] = []): FakeRun {
  startWorker(engine, { handlers: { it }, tools });
  return engine.submit({ handler: "it", retryPolicy: { maxAttempts: 3, initialBackoff: {} } });
}

const waiting = (run: FakeRun) => until(() => run.run.status === RunStatus.WAITING, { what: "the run to wait" });
const transfer = { to: "ada", cents: 500 };

test("a call that people have to approve waits without a worker, and is made once when they have", async () => {
  const engine = gated();
  const { tool, made } = bank();
  const run = start(engine, (ctx) => ctx.tool(tool, transfer));
  await waiting(run);
  expect(made).toEqual([]);
  expect(engine.callsOf("suspendRun")[0]?.request).toMatchObject({
    conditions: [{ condition: { case: "approval", value: { approvalId: "appr_1" } } }],
  });
  expect(engine.callsOf("startToolCall")[0]?.request).toMatchObject({ target: "account:ada" });
  engine.gate.approve();
  expect(await engine.ended(run)).toMatchObject({ status: "SUCCEEDED", output: "transfer 1" });
  expect(made).toEqual([transfer]);
  expect(run.run).toMatchObject({ attempt: 2, failedAttempts: 0 });
  expect(engine.gate.approvals).toMatchObject([{ status: ApprovalStatus.CONSUMED }]);
});

test("a call is made with the arguments that people have edited", async () => {
  const engine = gated();
  const { tool, made } = bank();
  const run = start(engine, (ctx) => ctx.tool(tool, transfer));
  await waiting(run);
  engine.gate.approve(undefined, { to: "ada", cents: 400 });
  await engine.ended(run);
  expect(made).toEqual([{ to: "ada", cents: 400 }]);
});

test("edited arguments that the tool does not take fail the call, and nothing is executed", async () => {
  const engine = gated();
  const { tool, made } = bank();
  const run = start(engine, (ctx) => ctx.tool(tool, transfer));
  await waiting(run);
  engine.gate.approve(undefined, { to: "ada", cents: "much" });
  const { error } = await engine.ended(run);
  expect(error).toMatchObject({ code: "TOOL_ARGUMENTS_INVALID", retryable: false });
  expect(made).toEqual([]);
  expect(run.toolCalls.get("transfer")?.status).toBe(ToolCallStatus.FAILED);
});

test("edited arguments that reach something else than the policy was asked about fail the call", async () => {
  const engine = gated();
  const { tool, made } = bank();
  const run = start(engine, (ctx) => ctx.tool(tool, transfer));
  await waiting(run);
  engine.gate.approve(undefined, { to: "mallory", cents: 500 });
  const { error } = await engine.ended(run);
  expect(error).toMatchObject({ code: "TOOL_ARGUMENTS_EDITED", retryable: false });
  expect(error).toMatchObject({ message: expect.stringContaining("account:mallory") as string });
  expect(made).toEqual([]);
});

test("the function of a tool call gets the arguments that people have edited", async () => {
  const engine = gated();
  const options = { tool: "transfer", effect: ToolEffect.EXTERNAL_WRITE, args: transfer };
  const run = start(engine, (ctx) => ctx.tool("pay", options, (_scope, args) => args));
  await waiting(run);
  engine.gate.approve(undefined, { to: "bob", cents: 1 });
  expect(await engine.ended(run)).toMatchObject({ output: { to: "bob", cents: 1 } });
});

test("a function that takes no arguments is not called when people have edited them, and is when they have not", async () => {
  const engine = gated();
  const options = { tool: "transfer", effect: ToolEffect.EXTERNAL_WRITE, args: transfer };
  const pay = (ctx: HandlerContext) => ctx.tool("pay", options, () => "paid");
  const edited = start(engine, pay);
  await waiting(edited);
  engine.gate.approve(undefined, { to: "bob", cents: 1 });
  expect(await engine.ended(edited)).toMatchObject({ error: { code: "TOOL_ARGUMENTS_EDITED", retryable: false } });
  const same = engine.submit({ handler: "it" });
  await waiting(same);
  engine.gate.approve();
  expect(await engine.ended(same)).toMatchObject({ output: "paid" });
});

test.each([
  [ApprovalStatus.DENIED, "APPROVAL_DENIED", "user:alice has denied it: too dear"],
  [ApprovalStatus.EXPIRED, "APPROVAL_EXPIRED", "nobody has approved it in time"],
] as const)("a call whose approval ends as %s fails for good", async (status, code, message) => {
  const engine = gated();
  const { tool, made } = bank();
  const run = start(engine, (ctx) => ctx.tool(tool, transfer));
  await waiting(run);
  engine.gate.end(status);
  expect(await engine.ended(run)).toMatchObject({ status: "FAILED", error: { code, message, retryable: false } });
  expect(made).toEqual([]);
  expect(run.run.attempt).toBe(2);
});

test("a call that the policy denies fails for good, with the policy's message", async () => {
  const engine = gated(() => "deny");
  const { tool, made } = bank();
  const run = start(engine, (ctx) => ctx.tool(tool, transfer));
  expect(await engine.ended(run)).toMatchObject({ error: { code: "POLICY_DENIED", message: "not in this house" } });
  expect(made).toEqual([]);
});

test("a refusal that the handler lives with is the same in a replay, in its place among what happens side by side", async () => {
  const engine = gated(({ type }) => (type === "transfer" ? "deny" : "allow"));
  const { tool } = bank();
  const asked: string[] = [];
  const run = start(engine, async (ctx) => {
    const heard: string[] = [];
    await Promise.all([
      ctx.step("slow", () => until(() => heard.length === 2, { what: "the others" })).then(() => heard.push("slow")),
      ctx.tool(tool, transfer).catch((error: unknown) => heard.push((error as HandlerError).message)),
      ctx.step("quick", () => 1).then(() => heard.push("quick")),
    ]);
    asked.push(heard.join(", "));
    if (ctx.attempt < 3) throw new Error("down");
    return ctx.now().toISOString();
  });
  const { status } = await engine.ended(run);
  expect(status).toBe("SUCCEEDED");
  expect(asked[0]).toBe("not in this house, quick, slow");
  expect(new Set(asked).size).toBe(1);
  expect(engine.callsOf("startToolCall")).toHaveLength(1);
});

test("a handler that goes on after a failure and waits for approval does not try the failure again", async () => {
  const engine = gated(({ effect }) => (effect === ToolEffect.EXTERNAL_WRITE ? "ask" : "allow"));
  const { tool } = bank();
  let tries = 0;
  const run = start(engine, async (ctx) => {
    const fail = () => {
      tries++;
      throw new HandlerError("DOWN", "down");
    };
    const code = await ctx.step("check", fail).catch((error: unknown) => (error as HandlerError).code);
    return [code, await ctx.tool(tool, transfer)];
  });
  await waiting(run);
  engine.gate.approve();
  expect(await engine.ended(run)).toMatchObject({ output: ["DOWN", "transfer 1"] });
  expect(tries).toBe(1);
});

test.each([[[0, 1, 2]], [[2, 1, 0]], [[1, 2, 0]]])(
  "calls and approvals side by side go on as they are decided: %j",
  async (order) => {
    const engine = gated();
    const { tool, made } = bank();
    const run = start(engine, async (ctx) => {
      const heard: unknown[] = [];
      const hear = (what: unknown) => void heard.push(what);
      await Promise.all([
        ctx.tool(tool, { to: "ada", cents: 1 }).then(() => hear("ada")),
        ctx.approve({ action: "sign", payload: "contract" }).then(hear),
        ctx.tool(tool, { to: "bob", cents: 2 }).catch((error: unknown) => hear((error as HandlerError).code)),
      ]);
      return heard;
    });
    await waiting(run);
    expect(engine.gate.approvals).toHaveLength(3);
    const names = ["ada", "contract", "APPROVAL_DENIED"];
    const approvals = [...engine.gate.approvals].toSorted((a, b) => rank(a.payload) - rank(b.payload));
    for (const index of order) {
      const approval = approvals[index];
      if (index === 2) engine.gate.end(ApprovalStatus.DENIED, approval);
      else engine.gate.approve(approval);
      await until(() => run.run.status !== RunStatus.QUEUED && run.run.status !== RunStatus.RUNNING, { what: "rest" });
    }
    expect(await engine.ended(run)).toMatchObject({ output: order.map((index) => names[index]) });
    expect(made).toEqual([{ to: "ada", cents: 1 }]);
    expect(run.run.failedAttempts).toBe(0);
  },
);

function rank(payload: Parameters<typeof valueToJson>[0]): number {
  const json = valueToJson(payload) as { to?: string } | string;
  return typeof json === "string" ? 1 : json.to === "ada" ? 0 : 2;
}

test("an approval that is void when the run wakes is asked for anew", async () => {
  const engine = gated();
  const { tool, made } = bank();
  const run = start(engine, (ctx) => ctx.tool(tool, transfer));
  await waiting(run);
  engine.gate.end(ApprovalStatus.CANCELED);
  await until(() => engine.gate.approvals.length === 2 && run.run.status === RunStatus.WAITING, { what: "a new one" });
  engine.gate.approve();
  await engine.ended(run);
  expect(made).toEqual([transfer]);
});

test("a kill switch pauses the run before the call, whatever the handler catches, and the call is made once it may be", async () => {
  const engine = gated(() => "allow");
  engine.gate.stopped = true;
  const { tool, made } = bank();
  let caught = false;
  const run = start(engine, async (ctx) => {
    await ctx.step("before", () => 1);
    return ctx.tool(tool, transfer).catch(() => (caught = true));
  });
  await until(() => run.run.status === RunStatus.PAUSED, { what: "the run to pause" });
  expect(run.run.pause?.reason).toBe(PauseReason.KILL_SWITCH);
  expect([made, caught]).toEqual([[], false]);
  engine.gate.stopped = false;
  engine.resume(run);
  expect(await engine.ended(run)).toMatchObject({ status: "SUCCEEDED", output: "transfer 1" });
  expect(run.run.failedAttempts).toBe(0);
});

test("a worker says once that external writes are stopped", async () => {
  const engine = fakeEngine(30);
  engine.gate.stopped = true;
  const lines: string[] = [];
  const ignore = () => {};
  const log: WorkerLog = {
    debug: ignore,
    info: ignore,
    error: ignore,
    warn: (_fields, message) => void lines.push(message),
  };
  const handler = (ctx: HandlerContext) =>
    ctx.step("busy", () => until(() => engine.callsOf("heartbeat").length > 4, { what: "heartbeats" }));
  startWorker(engine, { handlers: { it: handler }, log });
  await Promise.all(
    [engine.submit({ handler: "it" }), engine.submit({ handler: "it" })].map((run) => engine.ended(run)),
  );
  expect(lines.filter((line) => line.includes("kill switch"))).toHaveLength(1);
});

test("what a handler does through its client is done on behalf of the agent and whoever created the run", async () => {
  const engine = fakeEngine();
  const gateway = { type: PrincipalType.SERVICE, id: "gateway" };
  const createBy = { type: PrincipalType.USER, id: "alice", onBehalfOf: [gateway] };
  const it = async (ctx: HandlerContext) => void (await ctx.client.runs.getRun({ runId: ctx.currentRun.runId }));
  startWorker(engine, { handlers: { it } });
  const [agent, plain] = [
    engine.submit({ handler: "it", agentId: "agt_1", createBy }),
    engine.submit({ handler: "it" }),
  ];
  await Promise.all([engine.ended(agent), engine.ended(plain)]);
  expect(engine.callsOf("getRun").map(({ onBehalfOf }) => onBehalfOf)).toEqual([
    "agent:agt_1, user:alice, service:gateway",
    "service:handler:it",
  ]);
});

test("a tool whose target can not be told fails before anything is recorded", async () => {
  const engine = fakeEngine();
  const { tool } = bank();
  const target = () => {
    throw new HandlerError("NO_TARGET", "no such account", { retryable: false });
  };
  const run = start(engine, (ctx) => ctx.tool({ ...tool, target }, transfer));
  expect(await engine.ended(run)).toMatchObject({ error: { code: "NO_TARGET" } });
  expect(engine.callsOf("startToolCall")).toEqual([]);
});
