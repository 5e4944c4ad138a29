import { setImmediate } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { ToolCallStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { defineTool, type HandlerContext, HandlerError, ToolEffect, ToolError } from "../../src/engine/worker.ts";
import { until } from "../support/until.ts";
import { type FakeEngine, fakeEngine } from "./fake-engine.ts";
import { outcomeOf, startWorker } from "./running.ts";

const hour = 3_600_000;

function start(
  engine: FakeEngine,
  it: (ctx: HandlerContext) => unknown,
  init: Parameters<FakeEngine["submit"]>[0] = {},
) {
  startWorker(engine, { handlers: { it } });
  return engine.submit({ handler: "it", ...init });
}

/** Holds back the answers to one method until `open` is called. */
function gate(engine: FakeEngine, method: string): { open(): void } {
  const opened = Promise.withResolvers<void>();
  engine.fault = (call, when) => (call.method === method && when === "before" ? opened.promise : undefined);
  return { open: opened.resolve };
}

test("a handler that has ended is not suspended for a wait that it lost interest in", async () => {
  const engine = fakeEngine();
  gate(engine, "publishDeltas");
  const it = async (ctx: HandlerContext) => {
    await Promise.race([ctx.sleep(hour), ctx.step("quick", () => 1)]);
    ctx.emit("last words");
    return "done";
  };
  const run = start(engine, it);
  expect(await engine.ended(run)).toMatchObject({ status: "SUCCEEDED", output: "done" });
  expect(engine.callsOf("suspendRun")).toEqual([]);
});

test("a canceled run that was to pause ends a handler whose step would be tried again", async () => {
  const engine = fakeEngine(60);
  let ended = false;
  const run = start(
    engine,
    async (ctx) => {
      const tired = ctx.step(
        "busy",
        ({ signal }) =>
          new Promise((_resolve, reject) => {
            signal.addEventListener("abort", () => reject(new Error("told to stop")));
          }),
        { retry: { maxAttempts: 5 } },
      );
      void ctx.step("one too many", () => 1);
      await tired.finally(() => (ended = true));
    },
    { budget: { maxSteps: 1n } },
  );
  await until(() => engine.callsOf("startStep").length === 2, { what: "both to be asked for" });
  engine.cancel(run);
  expect(await until(() => ended, { what: "the handler to hear of it" })).toBe(true);
});

test("a group of children that nobody awaits fails without an unhandled rejection", async () => {
  const engine = fakeEngine();
  const broken = () => {
    throw new HandlerError("BROKEN", "broken", { retryable: false });
  };
  const it = async (ctx: HandlerContext) => {
    void ctx.runAll([{ handler: "broken" }]);
    void ctx.reconcile("nothing", { tookEffect: false, note: "" });
    void ctx.artifact("a.txt", {} as never);
    await ctx.run({ handler: "broken", name: "another" }).catch(() => {});
    await ctx.step("later", () => setImmediate());
    return "done";
  };
  expect(await outcomeOf(engine, it, {}, { handlers: { broken } })).toMatchObject({ status: "SUCCEEDED" });
});

test("what a failed try has consumed is on record when the run is paused before the next", async () => {
  const engine = fakeEngine(60);
  const run = start(engine, (ctx) =>
    ctx.step(
      "costly",
      async ({ addUsage }) => {
        addUsage({ costMicros: 7 });
        engine.pause(run);
        const before = engine.callsOf("heartbeat").length;
        await until(() => engine.callsOf("heartbeat").length > before + 1, { what: "heartbeats" });
        throw new Error("once more");
      },
      { retry: { maxAttempts: 3 } },
    ),
  );
  await until(() => run.run.pause !== undefined, { what: "the run to pause" });
  expect(run.run.usage?.costMicros).toBe(7n);
});

test("what was emitted before a wait is shown before the run is suspended", async () => {
  const engine = fakeEngine();
  const run = start(engine, async (ctx) => {
    ctx.emit("may I?");
    return ctx.waitForMessage();
  });
  await until(() => engine.callsOf("suspendRun").length > 0, { what: "the suspension" });
  expect(engine.deltas.map(({ text }) => text)).toEqual(["may I?"]);
  engine.say(run, "yes");
  await engine.ended(run);
});

test("a tool call that is being started when its handler ends has its end on record", async () => {
  const engine = fakeEngine();
  const starting = gate(engine, "startToolCall");
  const pay = defineTool({
    name: "pay",
    description: "Pays.",
    effect: ToolEffect.WRITE,
    input: { type: "object" },
    run: async () => setImmediate("paid"),
  });
  const it = async (ctx: HandlerContext) => {
    void ctx.tool("pay");
    await until(() => engine.callsOf("startToolCall").length > 0, { what: "the start" });
    void setImmediate().then(starting.open);
  };
  const { run } = await outcomeOf(engine, it, {}, { tools: [pay] });
  expect(run.toolCalls.get("pay")?.status).toBe(ToolCallStatus.SUCCEEDED);
});

test("an attempt that fails in the middle of a replay is retried though its tool ends after it", async () => {
  const engine = fakeEngine();
  const stepStarted = Promise.withResolvers<void>();
  const failed = Promise.withResolvers<void>();
  let calls = 0;
  const pay = defineTool({
    name: "pay",
    description: "Pays.",
    effect: ToolEffect.WRITE,
    input: { type: "object" },
    async run() {
      if (++calls > 1) return failed.promise;
      await stepStarted.promise;
      throw new ToolError("NOT_PAID", "not paid", { retryable: true });
    },
  });
  const it = async (ctx: HandlerContext) => {
    const one = ctx.step("one", () => 1);
    const paid = ctx.tool("pay");
    await one;
    if (ctx.attempt === 2) {
      setImmediate().then(failed.resolve, failed.reject);
      throw new Error("not now");
    }
    await Promise.all([ctx.step("two", () => stepStarted.resolve()), paid]);
    return "done";
  };
  const outcome = await outcomeOf(engine, it, {}, { tools: [pay], replayPatienceMs: 50 });
  expect(outcome).toMatchObject({ status: "SUCCEEDED", output: "done" });
  expect(calls).toBe(2);
});

test("a worker that no stream reaches, but single calls do, goes on with single calls", async () => {
  const engine = fakeEngine();
  const warnings: string[] = [];
  const warn = (_fields: object, message: string) => void warnings.push(message);
  const log = { debug: () => {}, info: () => {}, warn, error: () => {} };
  let opened = 0;
  // oxlint-disable-next-line require-yield -- a stream that is cut before anything comes
  async function* work(): AsyncGenerator<never> {
    opened++;
    throw new ConnectError("cut", Code.Unavailable);
  }
  const client = { ...engine.client, engine: { ...engine.client.engine, work } };
  const options = { client, transport: "stream" as const, log };
  expect(await outcomeOf(engine, () => "done", {}, options)).toMatchObject({ output: "done" });
  expect(opened).toBe(3);
  expect(warnings).toContain("no Work stream reaches the server; going on with single calls");
});

test("a worker whose single calls do not get through either goes on trying streams", async () => {
  const engine = fakeEngine();
  let opened = 0;
  let reported = 0;
  engine.fault = ({ method }, when) => {
    if (method !== "reportWorker" || when === "after") return;
    reported++;
    throw new ConnectError("away", Code.Unavailable);
  };
  // oxlint-disable-next-line require-yield -- a stream that is cut before anything comes
  async function* work(): AsyncGenerator<never> {
    opened++;
    throw new ConnectError("away", Code.Unavailable);
  }
  const client = { ...engine.client, engine: { ...engine.client.engine, work } };
  startWorker(engine, { client, transport: "stream", handlers: { it: () => "done" } });
  await until(() => opened > 4, { what: "more streams than a worker tries without hope" });
  expect(reported).toBeGreaterThan(3);
  expect(engine.callsOf("claimRun")).toEqual([]);
});
