import { expect, test } from "vitest";
import { RunStatus } from "../../src/client/client.ts";
import type { HandlerContext, RunStoppedError } from "../../src/engine/worker.ts";
import { until } from "../support/until.ts";
import { type FakeEngine, fakeEngine, type FakeRun } from "./fake-engine.ts";
import { startWorker } from "./running.ts";

const paused = (run: FakeRun) => until(() => run.run.status === RunStatus.PAUSED, { what: "the run to pause" });

function start(
  engine: FakeEngine,
  it: (ctx: HandlerContext) => unknown,
  init: Parameters<FakeEngine["submit"]>[0] = {},
) {
  startWorker(engine, { handlers: { it } });
  return engine.submit({ handler: "it", ...init });
}

test("a run that is to pause ends what is under way, starts nothing more, and goes on where it was", async () => {
  const engine = fakeEngine(60);
  const ran: string[] = [];
  const causes: unknown[] = [];
  const run = start(engine, async (ctx) => {
    ctx.signal.addEventListener("abort", () => causes.push((ctx.signal.reason as RunStoppedError).why));
    const step = (name: string) =>
      ctx.step(name, async () => {
        if (name === "one") engine.pause(run);
        await until(() => engine.callsOf("heartbeat").length > 1, { what: "heartbeats" });
        ran.push(name);
        return name;
      });
    return [await step("one"), await step("two")];
  });
  await paused(run);
  expect(ran).toEqual(["one"]);
  expect(await until(() => causes[0], { what: "the signal" })).toBe("paused");
  expect(engine.callsOf("releaseRun")[0]?.request).toMatchObject({ reason: "somebody asked the run to pause" });
  engine.resume(run);
  expect(await engine.ended(run)).toMatchObject({ status: "SUCCEEDED", output: ["one", "two"] });
  expect(ran).toEqual(["one", "two"]);
  expect(run.run.failedAttempts).toBe(0);
});

test("a run that is to pause while it only waits is given back at once", async () => {
  const engine = fakeEngine(60);
  const run = start(engine, async (ctx) => {
    await Promise.all([
      ctx.waitForMessage(),
      ctx.step("busy", () => until(() => run.run.pauseRequested, { what: "it" })),
    ]);
  });
  await until(() => run.steps.size === 2, { what: "both to be started" });
  engine.pause(run);
  expect(await paused(run)).toBe(true);
});

test("a handler that ends before it asks for anything more is not paused", async () => {
  const engine = fakeEngine(60);
  const run = start(engine, (ctx) =>
    ctx.step("one", async () => {
      engine.pause(run);
      await until(() => engine.callsOf("heartbeat").length > 1, { what: "heartbeats" });
      return "done";
    }),
  );
  expect(await engine.ended(run)).toMatchObject({ status: "SUCCEEDED", output: "done" });
});

test("a run whose budget is used up is paused, not lost, and goes on with a larger one", async () => {
  const engine = fakeEngine();
  const ran: string[] = [];
  const it = (ctx: HandlerContext) => {
    const step = (name: string) => ctx.step(name, () => void ran.push(name));
    return Promise.all([step("one"), step("two"), step("three")]).then(() => "done");
  };
  const run = start(engine, it, { budget: { maxSteps: 2n } });
  await paused(run);
  expect(run.run.pause?.note).toBe("max_steps");
  expect(ran).toEqual(["one", "two"]);
  engine.resume(run, { maxSteps: 10n });
  expect(await engine.ended(run)).toMatchObject({ status: "SUCCEEDED", output: "done" });
  expect(ran).toEqual(["one", "two", "three"]);
});

test("a handler can not catch the end of its budget", async () => {
  const engine = fakeEngine();
  let caught = false;
  const it = async (ctx: HandlerContext) => {
    await ctx.step("one", () => 1);
    await ctx.step("two", () => 2).catch(() => (caught = true));
  };
  const run = start(engine, it, { budget: { maxSteps: 1n } });
  await paused(run);
  expect(caught).toBe(false);
});

test("a run that is canceled while it is to pause ends its handler", async () => {
  const engine = fakeEngine(60);
  let why: unknown;
  const it = async (ctx: HandlerContext) => {
    const busy = ctx.step("busy", () => new Promise<void>((resolve) => void setTimeout(resolve, 300)));
    await ctx.step("one too many", () => 1).catch((error: unknown) => (why = (error as RunStoppedError).why));
    await busy;
  };
  const run = start(engine, it, { budget: { maxSteps: 1n } });
  await until(() => engine.callsOf("startStep").length === 2, { what: "both to be asked for" });
  engine.cancel(run);
  expect(await until(() => why, { what: "the handler to hear of it" })).toBe("canceled");
});
