import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { StepStatus } from "../../src/client/client.ts";
import type { WorkerLog } from "../../src/engine/worker.ts";
import { until } from "../support/until.ts";
import { fakeEngine } from "./fake-engine.ts";
import { outcomeOf, startWorker } from "./running.ts";

const never = new Promise<never>(() => {});
const once = { retryPolicy: { maxAttempts: 1 } };
const circle: unknown[] = [];
circle.push(circle);
const hostile = new Proxy(
  {},
  {
    get() {
      throw new Error("do not look");
    },
    getPrototypeOf() {
      throw new Error("do not look");
    },
  },
);

test.each([
  ["a string", "oops", "the handler threw 'oops', which is no Error"],
  ["nothing", undefined, "the handler threw undefined, which is no Error"],
  ["a symbol", Symbol("s"), "the handler threw Symbol(s), which is no Error"],
  ["what throws when it is looked at", hostile, "the handler threw something that can not be shown"],
  ["an Error with a message that is no text", Object.assign(new Error("x"), { message: { a: 1 } }), "{ a: 1 }"],
])("a step and a handler may throw %s", async (_what, thrown: unknown, message) => {
  const throws = () => {
    throw thrown;
  };
  const engine = fakeEngine();
  expect(await outcomeOf(engine, throws, once)).toMatchObject({
    status: "FAILED",
    error: { code: "HANDLER_ERROR", message },
  });
  const { error, run } = await outcomeOf(fakeEngine(), (ctx) => ctx.step("s", throws), once);
  expect(error).toMatchObject({ code: "HANDLER_ERROR", message });
  expect(run.steps.get("s")).toMatchObject({ status: StepStatus.FAILED, error: { message } });
});

test.each([
  ["a function", () => 1, "the output is a function"],
  ["a circle", circle, "the output[0] contains itself"],
  ["a promise inside", { later: Promise.resolve(1) }, "the output.later is a Promise; give a plain object"],
  ["a class", new Map(), "the output is a Map; give a plain object"],
])("an output that is %s ends the run with a clear reason", async (_what, output: unknown, message) => {
  const { status, error } = await outcomeOf(fakeEngine(), () => output);
  expect({ status, error }).toMatchObject({
    status: "FAILED",
    error: { code: "OUTPUT_NOT_SERIALIZABLE", message: expect.stringContaining(message) as string, retryable: false },
  });
});

test("a step that never ends and does not listen takes a slot until the run's deadline, and is told of", async () => {
  const engine = fakeEngine();
  const lines: string[] = [];
  const write = (_fields: object, message: string) => void lines.push(message);
  const log: WorkerLog = { debug() {}, info: write, warn: write, error: write };
  let why: unknown;
  startWorker(engine, {
    log,
    concurrency: 2,
    handlers: {
      stuck: (ctx) =>
        ctx.step("deaf", ({ signal }) => {
          signal.addEventListener("abort", () => (why = (signal.reason as { why: string }).why));
          return never;
        }),
      echo: (_ctx, input) => input ?? null,
    },
  });
  const run = engine.submit({ handler: "stuck", deadlineTime: timestampFromMs(Date.now() + 50) });
  expect(await until(() => why, { what: "the signal" })).toBe("deadline");
  expect(await engine.ended(engine.submit({ handler: "echo" }))).toMatchObject({ status: "SUCCEEDED" });
  expect(run.steps.get("deaf")?.status).toBe(StepStatus.RUNNING);
});

test("what a handler leaves running does not outlive it", async () => {
  const engine = fakeEngine();
  let why: unknown;
  const { status } = await outcomeOf(engine, async (ctx) => {
    void ctx.step("left", ({ signal }) => {
      signal.addEventListener("abort", () => (why = (signal.reason as { why: string }).why));
      return never;
    });
    void ctx.step("queued", () => never);
    await ctx.step("done", () => 1);
    return "done";
  });
  expect(status).toBe("SUCCEEDED");
  expect(await until(() => why, { what: "the signal" })).toBe("finished");
});

test("what a handler asks for after its end is not done, is told of, and does not end the worker", async () => {
  const engine = fakeEngine();
  const told: unknown[] = [];
  let late = () => {};
  startWorker(engine, {
    onError: (error) => told.push(error),
    handlers: {
      hasty: (ctx) => {
        late = () => {
          void (async () => {
            await ctx.step("late", () => 1);
          })();
        };
        return "done";
      },
    },
  });
  const run = engine.submit({ handler: "hasty" });
  expect(await engine.ended(run)).toMatchObject({ status: "SUCCEEDED", output: "done" });
  await until(() => engine.callsOf("completeRun").length === 1, { what: "the end" });
  late();
  await until(() => told.length > 0, { what: "the error" });
  expect(told).toMatchObject([{ name: "RunStoppedError", why: "finished" }]);
  expect(run.steps.size).toBe(0);
  expect(await engine.ended(engine.submit({ handler: "hasty" }))).toMatchObject({ status: "SUCCEEDED" });
});

test("a command that nobody awaits and that fails does not end the worker", async () => {
  const engine = fakeEngine();
  const { status } = await outcomeOf(engine, async (ctx) => {
    void ctx.step("bad", () => Promise.reject(new Error("unheard")));
    await ctx.step("good", () => 1);
    await ctx.step("better", () => 1);
  });
  expect(status).toBe("SUCCEEDED");
});

test("hundreds of steps side by side end one after the other", async () => {
  const engine = fakeEngine();
  const { output } = await outcomeOf(engine, async (ctx) => {
    const numbers = Array.from({ length: 300 }, (_, number) => number);
    const all = await Promise.all(numbers.map((number) => ctx.step("n", () => number)));
    if (ctx.attempt === 1) throw new Error("again");
    return all.reduce((a, b) => a + b);
  });
  expect(output).toBe(44_850);
  expect(engine.callsOf("completeStep")).toHaveLength(300);
});
