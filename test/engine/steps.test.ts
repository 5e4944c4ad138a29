import { expect, test } from "vitest";
import { jsonValue, StepStatus, valueToJson } from "../../src/client/client.ts";
import { HandlerError } from "../../src/engine/worker.ts";
import { fakeEngine, refusal } from "./fake-engine.ts";
import { outcomeOf } from "./running.ts";

test("a step is recorded with its name, place, input, output and usage", async () => {
  const engine = fakeEngine();
  const { run, output } = await outcomeOf(engine, (ctx) =>
    ctx.step(
      "fetch",
      ({ addUsage, stepId }) => {
        addUsage({ inputTokens: 3 });
        addUsage({ inputTokens: 4, costMicros: 9 });
        return { stepId };
      },
      { name: "Fetch it", input: { url: "x" } },
    ),
  );
  expect(output).toEqual({ stepId: "step_fetch" });
  const step = run.steps.get("fetch");
  expect(step).toMatchObject({
    name: "Fetch it",
    sequence: 1,
    status: StepStatus.COMPLETED,
    usage: { inputTokens: 7n, outputTokens: 0n, costMicros: 9n },
  });
  expect(valueToJson(step?.input)).toEqual({ url: "x" });
});

test("a step of an earlier attempt is answered from the claim, without a call", async () => {
  const engine = fakeEngine();
  let ran = 0;
  const { output } = await outcomeOf(engine, async (ctx) => {
    const value = await ctx.step("once", () => ++ran);
    if (ctx.attempt === 1) throw new Error("again");
    return { value, ran };
  });
  expect(output).toEqual({ value: 1, ran: 1 });
  expect(engine.callsOf("startStep")).toHaveLength(1);
});

test("an output that the claim had no room for is answered by the server, without running the step", async () => {
  const engine = fakeEngine();
  engine.omitsOutputs = true;
  let ran = 0;
  const { output } = await outcomeOf(engine, async (ctx) => {
    const value = await ctx.step("once", () => ++ran);
    if (ctx.attempt === 1) throw new Error("again");
    return { value, ran };
  });
  expect(output).toEqual({ value: 1, ran: 1 });
  expect(engine.callsOf("startStep")).toHaveLength(2);
});

test("a step without an output is undefined again when it is replayed", async () => {
  const engine = fakeEngine();
  const { output } = await outcomeOf(engine, async (ctx) => {
    const value = await ctx.step("quiet", () => {});
    if (ctx.attempt === 1) throw new Error("again");
    return String(value);
  });
  expect(output).toBe("undefined");
});

test("steps of one name have keys of their own", async () => {
  const engine = fakeEngine();
  let ran = 0;
  const { run, output } = await outcomeOf(engine, async (ctx) => {
    const side = await Promise.all([ctx.step("one", () => ++ran), ctx.step("one", () => ++ran)]);
    const taken = await ctx.step("one#3", () => ++ran);
    return [...side, taken, await ctx.step("one", () => ++ran)];
  });
  expect(output).toEqual([1, 2, 3, 4]);
  expect([...run.steps.keys()]).toEqual(["one", "one#2", "one#3", "one#4"]);
});

test("what a step throws comes as a HandlerError, the same when it is replayed", async () => {
  const engine = fakeEngine();
  const seen: unknown[] = [];
  const cause = new TypeError("no such file");
  const { output } = await outcomeOf(engine, async (ctx) => {
    const fail = () => Promise.reject(cause);
    await ctx.step("read", fail).catch((error: unknown) => seen.push(error));
    await ctx.step("next", () => 1);
    if (ctx.attempt === 1) throw new Error("again");
    return "survived";
  });
  expect(output).toBe("survived");
  const same = { name: "HandlerError", code: "HANDLER_ERROR", message: "no such file", retryable: true };
  expect(seen).toMatchObject([{ ...same, cause }, same]);
  expect(engine.callsOf("failStep")).toHaveLength(1);
});

test("a step that failed is run again in the next attempt", async () => {
  const engine = fakeEngine();
  const { run, output } = await outcomeOf(engine, (ctx) =>
    ctx.step("try", () => {
      if (ctx.attempt === 1) throw new HandlerError("RATE_LIMITED", "slow down");
      return "done";
    }),
  );
  expect(engine.callsOf("failStep")[0]?.request).toMatchObject({
    error: { code: "RATE_LIMITED", message: "slow down", retryable: true },
  });
  expect(output).toBe("done");
  expect(run.steps.get("try")?.attempt).toBe(2);
});

test("a failure that the handler lived with stays, although the attempt failed later", async () => {
  const engine = fakeEngine();
  let tries = 0;
  const { output } = await outcomeOf(engine, async (ctx) => {
    const first = await ctx.step("first", () => Promise.reject(new Error(`try ${++tries}`))).catch(String);
    await ctx.step("second", () => 1);
    if (ctx.attempt === 1) throw new Error("again");
    return first;
  });
  expect(output).toBe("HandlerError: try 1");
  expect(tries).toBe(1);
});

test("a failure that is not retryable stays", async () => {
  const engine = fakeEngine();
  let tries = 0;
  const { error } = await outcomeOf(engine, async (ctx) => {
    const fail = () => Promise.reject(new HandlerError("NO_FUNDS", `try ${++tries}`, { retryable: false }));
    // Another error, so that the run gets another attempt.
    await ctx.step("pay", fail).catch((failure: unknown) => {
      throw ctx.attempt === 1 ? new Error("again") : (failure as HandlerError);
    });
  });
  expect(error).toMatchObject({ code: "NO_FUNDS", message: "try 1" });
  expect(tries).toBe(1);
});

test("a step is tried again in place, each failure on record", async () => {
  const engine = fakeEngine();
  const attempts: number[] = [];
  const { run, output } = await outcomeOf(engine, (ctx) =>
    ctx.step(
      "flaky",
      ({ attempt }) => {
        attempts.push(attempt);
        if (attempt < 3) throw new Error(`try ${attempt}`);
        return "done";
      },
      { retry: { maxAttempts: 3, initialBackoffMs: 1 } },
    ),
  );
  expect(output).toBe("done");
  expect(attempts).toEqual([1, 2, 3]);
  expect(engine.callsOf("failStep")).toHaveLength(2);
  expect(run.steps.get("flaky")?.attempt).toBe(3);
  expect(run.run.attempt).toBe(1);
});

test.each([
  ["is not retryable", { retryable: false }, []],
  ["the run's policy names", {}, ["NO_FUNDS"]],
])("an error that %s is not tried again in place", async (_what, options, nonRetryableCodes) => {
  const engine = fakeEngine();
  const fail = () => Promise.reject(new HandlerError("NO_FUNDS", "empty", options));
  await outcomeOf(engine, (ctx) => ctx.step("pay", fail, { retry: { maxAttempts: 5, initialBackoffMs: 1 } }), {
    retryPolicy: { nonRetryableCodes, maxAttempts: 1 },
  });
  expect(engine.callsOf("failStep")).toHaveLength(1);
});

test.each([{ maxAttempts: 0 }, { maxAttempts: 1.5 }, { initialBackoffMs: Number.NaN }])(
  "a retry policy without sense fails the run for good: %j",
  async (retry) => {
    const { error } = await outcomeOf(fakeEngine(), (ctx) => ctx.step("s", () => 1, { retry }));
    expect(error).toMatchObject({ code: "INVALID_RETRY", retryable: false });
  },
);

test("a step whose output JSON does not have fails, and the run with it", async () => {
  const engine = fakeEngine();
  const { run, error } = await outcomeOf(engine, (ctx) => ctx.step("big", () => ({ n: 1n })));
  expect(error).toMatchObject({
    code: "OUTPUT_NOT_SERIALIZABLE",
    message: "the output of step big.n is a bigint; give a string, or a number when it is small enough",
    retryable: false,
  });
  expect(run.steps.get("big")?.status).toBe(StepStatus.FAILED);
});

test("an output that the server finds too large fails the step for good", async () => {
  const engine = fakeEngine();
  engine.fault = ({ method }) => {
    if (method === "completeStep") throw refusal("PAYLOAD_TOO_LARGE", "the output has 9 bytes of at most 8");
  };
  const { run, error } = await outcomeOf(engine, (ctx) => ctx.step("large", () => "x"));
  expect(error).toMatchObject({ code: "PAYLOAD_TOO_LARGE", retryable: false });
  expect(run.steps.get("large")).toMatchObject({ status: StepStatus.FAILED, error: { code: "PAYLOAD_TOO_LARGE" } });
});

test("an input of a step that JSON does not have is refused before anything is recorded", async () => {
  const engine = fakeEngine();
  const { run, error } = await outcomeOf(engine, (ctx) => ctx.step("s", () => 1, { input: { at: new Date(0) } }));
  expect(error).toMatchObject({ code: "INPUT_NOT_SERIALIZABLE", retryable: false });
  expect(run.steps.size).toBe(0);
});

test.each(["PAYLOAD_TOO_LARGE", "QUOTA_EXCEEDED"] as const)(
  "a step that is refused with %s fails the run for good",
  async (code) => {
    const engine = fakeEngine();
    engine.fault = ({ method }) => {
      if (method === "startStep") throw refusal(code, "too much");
    };
    const { error } = await outcomeOf(engine, (ctx) => ctx.step("s", () => 1));
    expect(error).toMatchObject({ code, message: "too much", retryable: false });
  },
);

test.each(["", "x".repeat(191), "\ud800"])("a name that can not be recorded is refused for good: %j", async (name) => {
  const engine = fakeEngine();
  const { error } = await outcomeOf(engine, (ctx) => ctx.step(name, () => 1));
  expect(error).toMatchObject({ code: "INVALID_NAME", retryable: false });
  expect(engine.callsOf("startStep")).toEqual([]);
});

test("the context says which run and attempt it is", async () => {
  const { output } = await outcomeOf(
    fakeEngine(),
    ({ currentRun: { runId }, attempt }, input) => ({ runId, attempt, input }),
    { input: jsonValue("x") },
  );
  expect(output).toEqual({ runId: "run_1", attempt: 1, input: "x" });
});

test("usage that is not whole or negative is refused", async () => {
  const { error } = await outcomeOf(
    fakeEngine(),
    (ctx) => ctx.step("s", ({ addUsage }) => addUsage({ costMicros: 0.5 })),
    { retryPolicy: { maxAttempts: 1 } },
  );
  expect(error).toMatchObject({ message: "usage is whole and not negative; got 0.5" });
});

test("time and chance are the same in every attempt", async () => {
  const engine = fakeEngine();
  const seen: unknown[] = [];
  await outcomeOf(engine, async (ctx) => {
    const before = [ctx.now(), ctx.random()];
    await ctx.step("wait", () => new Promise<void>((resolve) => void setTimeout(resolve, 3)));
    seen.push([...before, ctx.now(), ctx.random()]);
    if (ctx.attempt === 1) throw new Error("again");
  });
  const [first, second] = seen as [[Date, number, Date, number], unknown];
  expect(second).toEqual(first);
  expect(first[2].getTime()).toBeGreaterThan(first[0].getTime());
  expect(first[3]).not.toBe(first[1]);
  for (const number of [first[1], first[3]]) expect(number).toBeGreaterThanOrEqual(0);
  for (const number of [first[1], first[3]]) expect(number).toBeLessThan(1);
});
