import { expect, test } from "vitest";
import { ApprovalStatus, RunStatus, StepKind, StepStatus, ToolEffect } from "../../src/client/client.ts";
import type { ApprovalRequest, HandlerContext, HandlerError } from "../../src/engine/worker.ts";
import { until } from "../support/until.ts";
import { type FakeEngine, fakeEngine, type FakeRun, refusal } from "./fake-engine.ts";
import { startWorker } from "./running.ts";

const waiting = (run: FakeRun) => until(() => run.run.status === RunStatus.WAITING, { what: "the run to wait" });

function start(engine: FakeEngine, it: (ctx: HandlerContext) => unknown): FakeRun {
  startWorker(engine, { handlers: { it } });
  return engine.submit({ handler: "it" });
}

const sign: ApprovalRequest = { action: "contract.sign", payload: { cents: 500 } };

test("an approval waits without a worker and answers the payload", async () => {
  const engine = fakeEngine();
  const terms = {
    requiredCount: 2,
    deciders: ["role:legal"],
    ttlMs: 60_000,
    escalateAfterMs: 30_000,
    escalateTo: ["user:bo"],
  };
  const run = start(engine, (ctx) =>
    ctx.approve({ ...sign, target: "acme", reversible: true, message: "urgent", terms }),
  );
  await waiting(run);
  expect(engine.callsOf("requestApproval")[0]?.request).toMatchObject({
    stepId: "step_contract.sign",
    action: { type: "contract.sign", target: "acme", effect: ToolEffect.EXTERNAL_WRITE, reversible: true },
    message: "urgent",
    terms: {
      requiredCount: 2,
      deciders: ["role:legal"],
      ttl: { seconds: 60n },
      escalateAfter: { seconds: 30n },
      escalateTo: ["user:bo"],
    },
  });
  engine.gate.approve();
  expect(await engine.ended(run)).toMatchObject({ status: "SUCCEEDED", output: { cents: 500 } });
  expect(run.steps.get("contract.sign")).toMatchObject({ kind: StepKind.APPROVAL, status: StepStatus.COMPLETED });
  expect(engine.gate.approvals).toMatchObject([{ status: ApprovalStatus.CONSUMED }]);
});

test("the payload is what people made of it", async () => {
  const engine = fakeEngine();
  const run = start(engine, (ctx) => ctx.approve(sign));
  await waiting(run);
  engine.gate.approve(undefined, { cents: 400 });
  expect(await engine.ended(run)).toMatchObject({ output: { cents: 400 } });
});

test("an approval on record is answered from it, in every later attempt", async () => {
  const engine = fakeEngine();
  const run = start(engine, async (ctx) => {
    const payload = await ctx.approve(sign);
    if (ctx.attempt < 4) throw new Error("down");
    return payload ?? null;
  });
  await waiting(run);
  engine.gate.approve();
  expect(await engine.ended(run)).toMatchObject({ output: { cents: 500 } });
  expect(engine.callsOf("consumeApproval")).toHaveLength(1);
});

test.each([
  [ApprovalStatus.DENIED, "APPROVAL_DENIED"],
  [ApprovalStatus.EXPIRED, "APPROVAL_EXPIRED"],
] as const)("one that ends as %s is a failure for good, and stays one in a replay", async (status, code) => {
  const engine = fakeEngine();
  const codes: string[] = [];
  const run = start(engine, async (ctx) => {
    await ctx.approve(sign).catch((error: unknown) => void codes.push((error as HandlerError).code));
    if (ctx.attempt < 4) throw new Error("down");
  });
  await waiting(run);
  engine.gate.end(status);
  expect(await engine.ended(run)).toMatchObject({ status: "SUCCEEDED" });
  expect(codes).toEqual([code, code, code]);
  expect(run.steps.get("contract.sign")).toMatchObject({
    status: StepStatus.FAILED,
    error: { code, retryable: false },
  });
});

test("what the policy denies is not asked", async () => {
  const engine = fakeEngine();
  engine.gate.judge = () => "deny";
  const run = start(engine, (ctx) => ctx.approve(sign));
  expect(await engine.ended(run)).toMatchObject({ error: { code: "POLICY_DENIED", message: "not in this house" } });
  expect(engine.gate.approvals).toEqual([]);
});

test("one that is void when it is to be used is asked for anew", async () => {
  const engine = fakeEngine();
  let changes = 1;
  engine.fault = ({ method }, when) => {
    if (method !== "consumeApproval" || when !== "before" || changes-- <= 0) return;
    const [first] = engine.gate.approvals;
    if (first !== undefined) first.status = ApprovalStatus.CANCELED;
  };
  const run = start(engine, (ctx) => ctx.approve(sign));
  await waiting(run);
  engine.gate.approve();
  await until(() => engine.gate.approvals.length === 2 && run.run.status === RunStatus.WAITING, { what: "a new one" });
  engine.gate.approve();
  expect(await engine.ended(run)).toMatchObject({ output: { cents: 500 } });
});

test("a server that calls the same approval void again and again does not keep the run for ever", async () => {
  const engine = fakeEngine();
  engine.fault = ({ method }, when) => {
    if (method === "consumeApproval" && when === "before") throw refusal("INVALID_STATE", "void");
  };
  const run = start(engine, (ctx) => ctx.approve(sign));
  await waiting(run);
  engine.gate.approve();
  expect(await engine.ended(run)).toMatchObject({ error: { code: "BAD_ANSWER" } });
});

test("a worker that dies between the use of an approval and the end of its step loses nothing", async () => {
  const engine = fakeEngine();
  let dies = true;
  engine.fault = ({ method }, when) => {
    if (method !== "consumeApproval" || when !== "after" || !dies) return;
    dies = false;
    engine.expire(run);
  };
  const run = start(engine, (ctx) => ctx.approve(sign));
  await waiting(run);
  engine.gate.approve();
  expect(await engine.ended(run)).toMatchObject({ output: { cents: 500 } });
  expect(engine.gate.approvals).toHaveLength(1);
});

test("a kill switch pauses the run that asks, and it goes on where it was", async () => {
  const engine = fakeEngine();
  engine.gate.stopped = true;
  let caught = false;
  const run = start(engine, (ctx) => ctx.approve(sign).catch(() => (caught = true)));
  const paused = () => until(() => run.run.status === RunStatus.PAUSED, { what: "the run to pause" });
  await paused();
  engine.gate.stopped = false;
  engine.resume(run);
  await waiting(run);
  engine.gate.stopped = true;
  engine.gate.approve();
  await until(() => run.run.status === RunStatus.SUCCEEDED || run.run.status === RunStatus.PAUSED, { what: "an end" });
  expect(run.run.status).toBe(RunStatus.PAUSED);
  engine.gate.stopped = false;
  engine.resume(run);
  expect(await engine.ended(run)).toMatchObject({ output: { cents: 500 } });
  expect(caught).toBe(false);
});

test.each([
  ["a name that can not be recorded", { action: "x".repeat(191) }, "INVALID_NAME"],
  ["a payload that JSON does not have", { action: "go", payload: 1n }, "INPUT_NOT_SERIALIZABLE"],
])("%s is refused for good", async (_what, request, code) => {
  const engine = fakeEngine();
  const run = start(engine, (ctx) => ctx.approve(request));
  expect(await engine.ended(run)).toMatchObject({ error: { code, retryable: false } });
});
