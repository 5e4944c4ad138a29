import { expect, test } from "vitest";
import { createWorker, type HandlerContext, type WorkerLog } from "../../src/engine/worker.ts";
import { fakeEngine } from "./fake-engine.ts";
import { changing, outcomeOf } from "./running.ts";

const after = (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms));

test.each([
  [
    "another step",
    (ctx: HandlerContext) => ctx.step("a", () => 1),
    (ctx: HandlerContext) => ctx.step("b", () => 1),
    'the record has step "a" at place 1, but the handler asked for step "b"; a handler asks for the same in every attempt, so give changed code another handler name',
  ],
  [
    "another kind of command",
    (ctx: HandlerContext) => ctx.step("a", () => 1),
    (ctx: HandlerContext) => ctx.sleep(0, { name: "a" }),
    'the record has step "a" at place 1, but the handler asked for sleep "a"; a handler asks for the same in every attempt, so give changed code another handler name',
  ],
  [
    "another order",
    async (ctx: HandlerContext) => [await ctx.step("a", () => 1), await ctx.step("b", () => 1)],
    async (ctx: HandlerContext) => [await ctx.step("b", () => 1), await ctx.step("a", () => 1)],
    'the record has step "a" at place 1, but the handler asked for step "b"; a handler asks for the same in every attempt, so give changed code another handler name',
  ],
  [
    "nothing",
    (ctx: HandlerContext) => ctx.step("a", () => 1),
    () => "done",
    'the record has step "a" at place 1, but the handler returned without asking for it',
  ],
])("a replay that asks for %s fails the run for good and says so", async (_what, first, later, message) => {
  const engine = fakeEngine();
  const { error, status } = await outcomeOf(engine, changing(first, later));
  expect(status).toBe("FAILED");
  expect(error).toMatchObject({ code: "NON_DETERMINISTIC", message, retryable: false });
});

test("a handler that catches the divergence can not go on", async () => {
  const engine = fakeEngine();
  const later = async (ctx: HandlerContext) => {
    await ctx.step("b", () => 1).catch(() => {});
    await ctx.step("c", () => 1);
    return "done";
  };
  const { error } = await outcomeOf(
    engine,
    changing((ctx) => ctx.step("a", () => 1), later),
  );
  expect(error).toMatchObject({ code: "NON_DETERMINISTIC" });
  expect(engine.callsOf("startStep")).toHaveLength(1);
});

test("a handler that waits where it did not wait before is found out", async () => {
  const engine = fakeEngine();
  const steps = (ctx: HandlerContext) => [ctx.step("slow", () => after(20)), ctx.step("fast", () => after(1))] as const;
  const later = async (ctx: HandlerContext) => {
    await ctx.step("slow", () => after(20));
    await ctx.step("fast", () => after(1));
  };
  const { error } = await outcomeOf(
    engine,
    changing((ctx) => Promise.all(steps(ctx)), later),
    {},
    { replayPatienceMs: 50 },
  );
  expect(error).toMatchObject({
    code: "NON_DETERMINISTIC",
    message: expect.stringContaining(
      'the record has step "fast" at place 2 next, but the handler did not ask for it and waits for step "slow"',
    ) as string,
  });
});

test("what the handler does outside of commands may take its time in a replay", async () => {
  const engine = fakeEngine();
  const { output } = await outcomeOf(
    engine,
    async (ctx) => {
      const slow = async () => {
        await after(30);
        return ctx.step("late", () => "late");
      };
      const both = await Promise.all([ctx.step("long", () => after(60)), slow()]);
      if (ctx.attempt === 1) throw new Error("again");
      return both[1];
    },
    {},
    { replayPatienceMs: 2_000 },
  );
  expect(output).toBe("late");
});

test("a handler that throws early what may pass is tried again, and goes on where it was", async () => {
  const engine = fakeEngine();
  let ran = 0;
  const { output } = await outcomeOf(engine, async (ctx) => {
    if (ctx.attempt === 2) throw new Error("the configuration can not be read");
    const value = await ctx.step("a", () => ++ran);
    if (ctx.attempt === 1) throw new Error("again");
    return value;
  });
  expect(output).toBe(1);
  expect(engine.callsOf("failRun")[1]?.request).toMatchObject({
    error: {
      code: "NON_DETERMINISTIC",
      message:
        'the record has step "a" at place 1, but the handler threw "the configuration can not be read" without asking for it',
      retryable: true,
    },
  });
});

test("steps side by side are told in the order in which they ended, also in a replay", async () => {
  const engine = fakeEngine();
  const orders: string[][] = [];
  await outcomeOf(engine, async (ctx) => {
    const order: string[] = [];
    const one = async (name: string, ms: number) => {
      await ctx.step(name, () => after(ms));
      order.push(name);
      await ctx.step(`${name} again`, () => after(ms));
      order.push(`${name} again`);
    };
    await Promise.all([one("slow", 30), one("fast", 5), one("middle", 15)]);
    orders.push(order);
    if (ctx.attempt < 3) throw new Error("again");
  });
  expect(orders[0]?.slice(0, 1)).toEqual(["fast"]);
  expect(orders[1]).toEqual(orders[0]);
  expect(orders[2]).toEqual(orders[0]);
});

test("the winner of a race wins again, although the loser has ended since", async () => {
  const engine = fakeEngine();
  const winners: unknown[] = [];
  await outcomeOf(engine, async (ctx) => {
    const fast = ctx.step("fast", () => after(1).then(() => "fast"));
    const slow = ctx.step("slow", () => after(10).then(() => "slow"));
    winners.push(await Promise.race([slow, fast]));
    await slow;
    if (ctx.attempt === 1) throw new Error("again");
  });
  expect(winners).toEqual(["fast", "fast"]);
});

test("what was left open is done again, and told after what is on record", async () => {
  const engine = fakeEngine(60);
  const orders: string[][] = [];
  const never = new Promise<never>(() => {});
  await outcomeOf(engine, async (ctx) => {
    const order: string[] = [];
    const one = async (name: string, fn: () => unknown) => {
      await ctx.step(name, fn);
      order.push(name);
    };
    await Promise.all([
      one("open", () => (ctx.attempt === 1 ? never : 1)),
      (async () => {
        await one("ended", () => 1);
        await after(5);
        await ctx.step("then", () => {
          if (ctx.attempt === 1) engine.expire(engine.runs[0] ?? engine.submit({}));
        });
      })(),
    ]);
    orders.push(order);
  });
  expect(orders).toEqual([["ended", "open"]]);
});

test("lines of a replay say so", async () => {
  const engine = fakeEngine();
  const lines: object[] = [];
  const log: WorkerLog = {
    debug() {},
    info: (fields, message) => message === "line" && lines.push(fields),
    warn() {},
    error() {},
  };
  await outcomeOf(
    engine,
    async (ctx) => {
      ctx.log.info({ place: 1 }, "line");
      await ctx.step("a", () => 1);
      ctx.log.info({ place: 2 }, "line");
      if (ctx.attempt === 1) throw new Error("again");
      await ctx.step("b", () => 1);
      ctx.log.info({ place: 3 }, "line");
    },
    {},
    { log },
  );
  const run = { run_id: "run_1" };
  expect(lines).toMatchObject([
    { ...run, attempt: 1, place: 1 },
    { ...run, attempt: 1, place: 2 },
    { ...run, attempt: 2, place: 1, replay: true },
    { ...run, attempt: 2, place: 2, replay: true },
    { ...run, attempt: 2, place: 3 },
  ]);
  expect(lines.filter((line) => "replay" in line)).toHaveLength(2);
});

test("a step that a worker recorded without counting is answered by its key", async () => {
  const engine = fakeEngine();
  const { client } = engine;
  const own = engine.submit({ handler: "it" });
  const { leaseToken } = await client.engine.claimRun({ handlers: ["it"], queues: ["default"], workerId: "old" });
  await client.engine.startStep({ leaseToken, key: "a" });
  await client.engine.completeStep({ leaseToken, stepId: "step_a" });
  await client.engine.releaseRun({ leaseToken });
  await using worker = createWorker({
    client,
    handlers: {
      it: (ctx) =>
        ctx.step("a", () => {
          throw new Error("run again");
        }),
    },
  });
  void worker.run();
  expect(await engine.ended(own)).toMatchObject({ status: "SUCCEEDED" });
});
