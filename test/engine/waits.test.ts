import { expect, test } from "vitest";
import { RunStatus, StepKind, valueToJson } from "../../src/client/client.ts";
import { until } from "../support/until.ts";
import { inVirtualTime } from "../support/virtual-time.ts";
import { type FakeEngine, fakeEngine, type FakeRun } from "./fake-engine.ts";
import { outcomeOf, startWorker } from "./running.ts";
import {
  createWorker,
  type Handler,
  type HandlerError,
  type RunStoppedError,
  type WorkerOptions,
} from "../../src/engine/worker.ts";

/** How a run ends in time that passes by itself. */
function tell(
  handler: Handler,
  act: (engine: FakeEngine, run: FakeRun) => void = () => {},
  options: Partial<WorkerOptions> = {},
) {
  return inVirtualTime(
    async (nowMs) => {
      const engine = fakeEngine(30_000, nowMs);
      await using worker = createWorker({
        ...options,
        client: engine.client,
        handlers: { ...options.handlers, it: handler },
      });
      void worker.run();
      const run = engine.submit({ handler: "it" });
      act(engine, run);
      const ended = await engine.ended(run);
      return { engine, run, endMs: nowMs(), ...ended };
    },
    { turns: 12 },
  );
}

const waiting = (run: FakeRun) => until(() => run.run.status === RunStatus.WAITING, { what: "the run to wait" });

test("a long sleep gives the run back and goes on when it is over, in another attempt", async () => {
  const attempts: number[] = [];
  const { run, engine, endMs } = await tell(async (ctx) => {
    attempts.push(ctx.attempt);
    await ctx.sleep(3_600_000);
  });
  expect(endMs).toBeGreaterThanOrEqual(3_600_000);
  expect(attempts).toEqual([1, 2]);
  expect(run.run.failedAttempts).toBe(0);
  expect(engine.callsOf("suspendRun")).toHaveLength(1);
  expect(run.steps.get("sleep")).toMatchObject({ kind: StepKind.SLEEP, sequence: 1 });
});

test("a short sleep keeps the run", async () => {
  const { run, engine } = await tell((ctx) => ctx.sleep(500));
  expect(engine.callsOf("suspendRun")).toEqual([]);
  expect(run.run.attempt).toBe(1);
});

test("a sleep until a time is over at that time", async () => {
  const { endMs, engine } = await tell((ctx) => ctx.sleep(new Date(120_000), { name: "until noon" }));
  expect(endMs).toBeGreaterThanOrEqual(120_000);
  expect(endMs).toBeLessThan(125_000);
  expect(engine.callsOf("startStep")[0]?.request).toMatchObject({ key: "until noon", wakeTime: { seconds: 120n } });
});

test("a sleep beside work that goes on ends in time, without giving the run back", async () => {
  const { output, engine } = await tell(async (ctx) => {
    const order: string[] = [];
    const work = ctx.step("work", () => new Promise<void>((resolve) => void setTimeout(resolve, 60_000)));
    await Promise.all([ctx.sleep(5_000).then(() => order.push("slept")), work.then(() => order.push("worked"))]);
    return order;
  });
  expect(output).toEqual(["slept", "worked"]);
  expect(engine.callsOf("suspendRun")).toEqual([]);
});

test("the earliest of several waits wakes the run", async () => {
  const { output, engine } = await tell(async (ctx) => {
    const winner = await Promise.race([
      ctx.sleep(60_000).then(() => "a minute"),
      ctx.sleep(3_600_000, { name: "hour" }).then(() => "an hour"),
      ctx.waitForMessage("th_1").then(() => "a message"),
    ]);
    return winner;
  });
  expect(output).toBe("a minute");
  const kinds = ["time", "time", "message"].map((kind) => ({ condition: { case: kind } }));
  expect(engine.callsOf("suspendRun")[0]?.request).toMatchObject({ conditions: kinds });
});

test.each([-1, Number.NaN, 367 * 86_400_000, new Date(Number.NaN)])(
  "a sleep of %s is refused for good",
  async (duration) => {
    const { error } = await tell((ctx) => ctx.sleep(duration));
    expect(error).toMatchObject({ code: "INVALID_SLEEP", retryable: false });
  },
);

test("messages are taken in order, also those that came before", async () => {
  const { output, run } = await tell(
    async (ctx) => {
      const first = await ctx.waitForMessage();
      const second = await ctx.waitForMessage();
      return [first, second, await ctx.waitForMessage("th_1")];
    },
    (engine, own) => {
      engine.say(own, "one");
      setTimeout(() => engine.say(own, "from a thread", "th_1"), 10_000);
      setTimeout(() => engine.say(own, { two: 2 }), 20_000);
    },
  );
  expect(output).toEqual(["one", { two: 2 }, "from a thread"]);
  expect([...run.steps.values()].map(({ kind, threadId }) => [kind, threadId])).toEqual([
    [StepKind.MESSAGE, ""],
    [StepKind.MESSAGE, ""],
    [StepKind.MESSAGE, "th_1"],
  ]);
});

test("a message that comes before the suspension is not lost", async () => {
  const engine = fakeEngine();
  engine.fault = ({ method }, when) => {
    const [own] = engine.runs;
    if (method === "suspendRun" && when === "before" && own?.messages.length === 0) engine.say(own, "just in time");
  };
  const { output, run } = await outcomeOf(engine, (ctx) => ctx.waitForMessage());
  expect(output).toBe("just in time");
  expect(run.run.attempt).toBe(1);
  expect(engine.callsOf("listEvents").length).toBeGreaterThan(0);
});

test("a run that waits takes no slot, and its handler is put away", async () => {
  const engine = fakeEngine();
  const causes: string[] = [];
  startWorker(engine, {
    concurrency: 1,
    handlers: {
      wait: async (ctx) => {
        ctx.signal.addEventListener("abort", () => causes.push((ctx.signal.reason as RunStoppedError).why));
        return ctx.waitForMessage();
      },
      echo: (_ctx, input) => input ?? null,
    },
  });
  const runs = [1, 2, 3].map(() => engine.submit({ handler: "wait" }));
  for (const run of runs) await waiting(run);
  expect(await engine.ended(engine.submit({ handler: "echo" }))).toMatchObject({ status: "SUCCEEDED" });
  expect(causes).toEqual(["suspended", "suspended", "suspended"]);
  for (const run of runs) engine.say(run, "go");
  for (const run of runs) expect(await engine.ended(run)).toMatchObject({ output: "go" });
});

test("what a handler that was put away asks for later is not done, and does not disturb the worker", async () => {
  const engine = fakeEngine();
  let late = () => {};
  startWorker(engine, {
    handlers: {
      wait: async (ctx) => {
        if (ctx.attempt === 1) late = () => void ctx.step("late", () => 1).then(() => ctx.step("later", () => 1));
        return ctx.waitForMessage();
      },
    },
  });
  const run = engine.submit({ handler: "wait" });
  await waiting(run);
  late();
  engine.say(run, "go");
  await engine.ended(run);
  expect([...run.steps.keys()]).toEqual(["message"]);
});

test("a canceled run ends the wait of its handler", async () => {
  const engine = fakeEngine(60);
  let why: unknown;
  startWorker(engine, {
    handlers: {
      it: async (ctx) => {
        const busy = ctx.step("busy", () => new Promise<void>((resolve) => void setTimeout(resolve, 200)));
        await Promise.all([busy, ctx.waitForMessage()]).catch(
          (error: unknown) => (why = (error as RunStoppedError).why),
        );
      },
    },
  });
  const run = engine.submit({ handler: "it" });
  await until(() => run.steps.size === 2, { what: "both to be started" });
  engine.cancel(run);
  expect(await until(() => why, { what: "the wait to end" })).toBe("canceled");
});

test("a child is created once, and its output is the parent's to have", async () => {
  const { output, run, engine } = await tell(
    async (ctx) => {
      const sum = await ctx.run({ handler: "add", input: [1, 2], labels: { for: "sum" } });
      await ctx.sleep(5_000);
      return sum ?? null;
    },
    undefined,
    { handlers: { add: (_ctx, input) => (input as number[]).reduce((a, b) => a + b) } },
  );
  expect(output).toBe(3);
  const [, child] = engine.runs;
  expect(child?.run).toMatchObject({ parentRunId: run.run.runId, handler: "add", labels: { for: "sum" } });
  expect(engine.runs).toHaveLength(2);
  expect(run.steps.get("add")).toMatchObject({ kind: StepKind.RUN, childRunId: child?.run.runId });
  expect(engine.callsOf("createRun")[0]?.request).toMatchObject({ requestId: `${run.run.runId}/add` });
});

test("many children are waited for together, and answered in the order given", async () => {
  const { output, run, engine } = await tell(
    async (ctx) => ctx.runAll([30, 10, 20].map((ms) => ({ handler: "slow", input: ms }))),
    undefined,
    {
      concurrency: 1,
      handlers: {
        slow: async (ctx, input) => {
          await ctx.step("work", () => new Promise<void>((resolve) => void setTimeout(resolve, Number(input))));
          return input ?? null;
        },
      },
    },
  );
  expect(output).toEqual([30, 10, 20]);
  expect(engine.callsOf("suspendRun")).toHaveLength(1);
  expect(run.run.attempt).toBe(2);
  expect([...run.steps.keys()]).toEqual(["slow", "slow#2", "slow#3"]);
});

test("a child that fails is the parent's ChildRunError, the same in a replay", async () => {
  const seen: unknown[] = [];
  const { output } = await tell(
    async (ctx) => {
      await ctx.run({ handler: "bad" }).catch((error: unknown) => seen.push(error));
      await ctx.sleep(5_000);
      return "survived";
    },
    undefined,
    {
      handlers: {
        bad: () => {
          throw Object.assign(new Error("broken"), {});
        },
      },
    },
  );
  expect(output).toBe("survived");
  const error = {
    name: "ChildRunError",
    code: "HANDLER_ERROR",
    message: "child run run_3 failed: broken",
    childRunId: "run_3",
    retryable: false,
  };
  expect(seen.length).toBeGreaterThan(1);
  for (const each of seen)
    expect(each).toMatchObject({
      ...error,
      message: expect.stringMatching(/failed: broken$/) as string,
      childRunId: expect.any(String) as string,
    });
});

test("a child that is canceled fails its parent, which lets that pass", async () => {
  const { error } = await tell(
    (ctx) => ctx.run({ handler: "nobody has it" }),
    (engine) => void setTimeout(() => engine.cancel(engine.runs[1] ?? engine.submit({})), 1_000),
  );
  expect(error).toMatchObject({ code: "CHILD_RUN_CANCELED", retryable: false });
});

test("a run that starts itself over and over ends with a clear reason, and so do all above it", async () => {
  const { error, engine } = await tell((ctx) => ctx.run({ handler: "it" }), undefined, { concurrency: 4 });
  expect(engine.runs).toHaveLength(33);
  expect(error).toMatchObject({
    code: "QUOTA_EXCEEDED",
    message: expect.stringContaining("32 runs stand above") as string,
  });
  expect(new Set(engine.runs.map(({ run }) => run.status))).toEqual(new Set([RunStatus.FAILED]));
});

test("a child that the server does not create stays so in a replay", async () => {
  const engine = fakeEngine();
  const codes: unknown[] = [];
  engine.fault = ({ method, request }, when) => {
    const { handler } = request as { handler?: string };
    if (method === "createRun" && when === "before" && handler === "x" && codes.length > 0)
      throw new Error("asked again");
  };
  const { output, run } = await outcomeOf(engine, async (ctx) => {
    await ctx
      .run({ handler: "x", input: { at: new Date(0) } })
      .catch((error: unknown) => codes.push((error as HandlerError).code));
    await ctx.step("next", () => 1);
    if (ctx.attempt === 1) throw new Error("again");
    return "survived";
  });
  expect(output).toBe("survived");
  expect(codes).toEqual(["INPUT_NOT_SERIALIZABLE", "INPUT_NOT_SERIALIZABLE"]);
  expect(valueToJson(run.steps.get("x")?.output)).toBeUndefined();
});
