import { expect, test } from "vitest";
import { jsonValue, StepStatus, ToolCallStatus, valueToJson } from "../../src/client/client.ts";
import { type HandlerContext, HandlerError, ToolEffect, ToolOutcomeUnknownError } from "../../src/engine/worker.ts";
import { fakeEngine, refusal } from "./fake-engine.ts";
import { outcomeOf } from "./running.ts";

const pay = { tool: "pay", effect: ToolEffect.EXTERNAL_WRITE, args: { amount: 5 } };
const never = new Promise<never>(() => {});

test("a step is recorded with its name, input, output and usage", async () => {
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

test("a step that the claim left out is answered by the server, without running it", async () => {
  const engine = fakeEngine();
  let ran = 0;
  const { output } = await outcomeOf(engine, async (ctx) => {
    await ctx.step("once", () => ++ran);
    return ctx.step("once", () => ++ran);
  });
  expect(output).toBe(1);
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

test("two steps of one key side by side are one", async () => {
  const engine = fakeEngine();
  let ran = 0;
  const { output } = await outcomeOf(engine, (ctx) =>
    Promise.all([ctx.step("one", () => ++ran), ctx.step("one", () => ++ran)]),
  );
  expect(output).toEqual([1, 1]);
});

test("a step that throws is recorded as failed, and may be started again", async () => {
  const engine = fakeEngine();
  let failed: unknown;
  const { run, output } = await outcomeOf(engine, async (ctx) => {
    const bad = () => Promise.reject(new HandlerError("RATE_LIMITED", "slow down"));
    await ctx.step("try", bad).catch((error: unknown) => (failed = error));
    return ctx.step("try", () => "done");
  });
  expect(failed).toMatchObject({ code: "RATE_LIMITED" });
  expect(engine.callsOf("failStep")[0]?.request).toMatchObject({
    error: { code: "RATE_LIMITED", message: "slow down", retryable: true },
  });
  expect(output).toBe("done");
  expect(run.steps.get("try")?.attempt).toBe(2);
});

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

test("a tool call is recorded before it is made, and its result after", async () => {
  const engine = fakeEngine();
  const seen: (ToolCallStatus | undefined)[] = [];
  const { run, output } = await outcomeOf(engine, (ctx) =>
    ctx.tool("pay-1", pay, ({ toolCallId }) => {
      seen.push(engine.runs[0]?.toolCalls.get("pay-1")?.status);
      return { receipt: toolCallId };
    }),
  );
  expect(seen).toEqual([ToolCallStatus.STARTED]);
  expect(output).toEqual({ receipt: "tc_pay-1" });
  expect(run.toolCalls.get("pay-1")).toMatchObject({
    tool: "pay",
    status: ToolCallStatus.SUCCEEDED,
    idempotent: false,
  });
});

test("a tool call that succeeded in an earlier attempt is not made again", async () => {
  const engine = fakeEngine();
  let made = 0;
  const { output } = await outcomeOf(engine, async (ctx) => {
    const result = await ctx.tool("pay-1", pay, () => ++made);
    if (ctx.attempt === 1) throw new Error("again");
    return { result, made };
  });
  expect(output).toEqual({ result: 1, made: 1 });
});

test("a tool that throws is recorded as failed, and may be called again", async () => {
  const engine = fakeEngine();
  const { output } = await outcomeOf(engine, (ctx) =>
    ctx.tool("pay-1", pay, () => {
      if (ctx.attempt === 1) throw new Error("declined");
      return "paid";
    }),
  );
  expect(engine.callsOf("failToolCall")[0]?.request).toMatchObject({ error: { message: "declined" } });
  expect(output).toBe("paid");
});

/** Leaves the call open in the first attempt, then does what `next` does. */
function afterUnknown(next: (ctx: HandlerContext) => unknown) {
  return async (ctx: HandlerContext) => {
    if (ctx.attempt > 1) return next(ctx);
    void ctx.tool("pay-1", pay, () => never);
    // The call is on record as started by then.
    await ctx.step("meanwhile", () => 1);
    throw new Error("crashed in the middle of the call");
  };
}

test("an unknown outcome is thrown, with the way out, and the tool is not called", async () => {
  const engine = fakeEngine();
  let made = 0;
  const { error } = await outcomeOf(
    engine,
    afterUnknown((ctx) => ctx.tool("pay-1", pay, () => ++made)),
  );
  expect(made).toBe(0);
  expect(error).toMatchObject({
    code: "TOOL_OUTCOME_UNKNOWN",
    message:
      'an earlier attempt called pay (tool call pay-1) and its outcome is unknown; find out what happened and call ctx.reconcile("pay-1", …)',
    retryable: false,
  });
});

test("a call that turned out to have taken effect is answered with its result", async () => {
  const engine = fakeEngine();
  const { run, output } = await outcomeOf(
    engine,
    afterUnknown(async (ctx) => {
      expect(ctx.unknownToolCalls).toMatchObject([{ key: "pay-1", tool: "pay" }]);
      await ctx.reconcile("pay-1", { tookEffect: true, result: { receipt: 7 }, note: "found in the ledger" });
      return ctx.tool("pay-1", pay, () => "paid twice");
    }),
  );
  expect(output).toEqual({ receipt: 7 });
  expect(run.toolCalls.get("pay-1")).toMatchObject({ status: ToolCallStatus.RECONCILED, note: "found in the ledger" });
});

test("a call that turned out to have had no effect is made again", async () => {
  const engine = fakeEngine();
  const { output } = await outcomeOf(
    engine,
    afterUnknown(async (ctx) => {
      await ctx.reconcile("pay-1", { tookEffect: false, note: "not in the ledger" });
      return ctx.tool("pay-1", pay, () => "paid");
    }),
  );
  expect(output).toBe("paid");
});

test("a tool that can not tell whether it took effect leaves the call open, for the next attempt to reconcile", async () => {
  const engine = fakeEngine();
  const { output } = await outcomeOf(engine, async (ctx) => {
    if (ctx.attempt > 1) return ctx.unknownToolCalls.map(({ key }) => key);
    return ctx.tool("pay-1", pay, () => {
      throw new ToolOutcomeUnknownError("the bank did not answer");
    });
  });
  expect(output).toEqual(["pay-1"]);
  expect(engine.callsOf("failToolCall")).toEqual([]);
});

test("only a call with an unknown outcome can be reconciled", async () => {
  const engine = fakeEngine();
  const { error } = await outcomeOf(engine, (ctx) => ctx.reconcile("pay-9", { tookEffect: false, note: "?" }));
  expect(error).toMatchObject({ code: "TOOL_CALL_NOT_FOUND", retryable: false });
});

test("the context says which run and attempt it is", async () => {
  const engine = fakeEngine();
  const { output } = await outcomeOf(engine, ({ run, attempt }, input) => ({ runId: run.runId, attempt, input }), {
    input: jsonValue("x"),
  });
  expect(output).toEqual({ runId: "run_1", attempt: 1, input: "x" });
});

test("usage that is not whole or negative is refused", async () => {
  const engine = fakeEngine();
  const { error } = await outcomeOf(engine, (ctx) => ctx.step("s", ({ addUsage }) => addUsage({ costMicros: 0.5 })), {
    retryPolicy: { maxAttempts: 1 },
  });
  expect(error).toMatchObject({ message: "usage is whole and not negative; got 0.5" });
});
