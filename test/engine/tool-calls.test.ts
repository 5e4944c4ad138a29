import { expect, test } from "vitest";
import { ToolCallStatus, valueToJson } from "../../src/client/client.ts";
import {
  createToolRegistry,
  defineTool,
  type HandlerContext,
  type Tool,
  ToolEffect,
  ToolError,
  type ToolOutcome,
  ToolOutcomeUnknownError,
} from "../../src/engine/worker.ts";
import { type FakeEngine, fakeEngine } from "./fake-engine.ts";
import { outcomeOf } from "./running.ts";

const pay = { tool: "pay", effect: ToolEffect.EXTERNAL_WRITE, args: { amount: 5 } };
const never = new Promise<never>(() => {});

function tool(
  own: Partial<Parameters<typeof defineTool>[0]> & { run?: Tool["run"]; reconcile?: Tool["reconcile"] },
): Tool {
  return defineTool({
    name: "pay",
    description: "Pays.",
    effect: ToolEffect.EXTERNAL_WRITE,
    input: { type: "object", properties: { amount: { type: "integer" } }, required: ["amount"] },
    run: () => "paid",
    ...own,
  } as Parameters<typeof defineTool>[0]);
}

test("a call of a tool of the worker is recorded before it is made, and its result after", async () => {
  const engine = fakeEngine();
  const seen: unknown[] = [];
  const paying = tool({
    version: "3",
    reversible: true,
    run(args, { toolCallId, runId, addUsage }) {
      seen.push(engine.runs[0]?.toolCalls.get("pay")?.status, args, runId);
      addUsage({ costMicros: 7 });
      return { receipt: toolCallId };
    },
  });
  const { run, output } = await outcomeOf(engine, (ctx) => ctx.tool("pay", { amount: 5 }), {}, { tools: [paying] });
  expect(seen).toEqual([ToolCallStatus.STARTED, { amount: 5 }, "run_1"]);
  expect(output).toEqual({ receipt: "tc_pay" });
  const call = run.toolCalls.get("pay");
  expect(call).toMatchObject({
    tool: "pay",
    effect: ToolEffect.EXTERNAL_WRITE,
    version: "3",
    reversible: true,
    idempotent: false,
    sequence: 1,
    status: ToolCallStatus.SUCCEEDED,
  });
  expect(valueToJson(call?.arguments)).toEqual({ amount: 5 });
  expect(engine.callsOf("succeedToolCall")[0]?.request).toMatchObject({ usage: { costMicros: 7n } });
});

test("a tool at hand needs no registry", async () => {
  const { output } = await outcomeOf(fakeEngine(), (ctx) => ctx.tool(tool({}), { amount: 1 }, { name: "refund" }));
  expect(output).toBe("paid");
});

test("a registry of one's own does as well", async () => {
  const tools = createToolRegistry([], [{ tools: () => [tool({})] }]);
  const { output } = await outcomeOf(
    fakeEngine(),
    async (ctx) => [ctx.tools.list().map(({ name }) => name), await ctx.tool("pay", { amount: 1 })],
    {},
    { tools },
  );
  expect(output).toEqual([["pay"], "paid"]);
});

test.each([
  ["an unknown tool", "buy", {}, "TOOL_NOT_FOUND", 'there is no tool "buy"; there are pay'],
  ["wrong arguments", "pay", { amount: "much" }, "TOOL_ARGUMENTS_INVALID", "amount"],
  ["arguments that JSON does not have", "pay", { amount: 1n }, "TOOL_ARGUMENTS_INVALID", "is a bigint"],
])("%s is refused before anything is recorded", async (_what, name, args, code, message) => {
  const engine = fakeEngine();
  const { error } = await outcomeOf(engine, (ctx) => ctx.tool(name, args), {}, { tools: [tool({})] });
  expect(error).toMatchObject({ code, message: expect.stringContaining(message) as string, retryable: false });
  expect(engine.callsOf("startToolCall")).toEqual([]);
});

test("a call that succeeded in an earlier attempt is not made again, although the tool is gone", async () => {
  const engine = fakeEngine();
  let made = 0;
  const { output } = await outcomeOf(
    engine,
    async (ctx) => {
      const result =
        ctx.attempt === 1 ? await ctx.tool(tool({ run: () => ++made }), { amount: 1 }) : await ctx.tool("pay");
      if (ctx.attempt === 1) throw new Error("again");
      return { result: result ?? null, made };
    },
    {},
  );
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

test("a ToolError is the handler's with its code", async () => {
  const refuse = tool({
    run: () => {
      throw new ToolError("EGRESS_DENIED", "not on the list");
    },
  });
  const { error } = await outcomeOf(fakeEngine(), (ctx) => ctx.tool(refuse, { amount: 1 }));
  expect(error).toMatchObject({ code: "EGRESS_DENIED", message: "not on the list", retryable: false });
});

test("a tool that changes nothing and does not answer in time has failed", async () => {
  const engine = fakeEngine();
  const slow = tool({ effect: ToolEffect.READ, timeoutMs: 10, run: () => never });
  const { error } = await outcomeOf(engine, (ctx) => ctx.tool(slow, { amount: 1 }), {
    retryPolicy: { maxAttempts: 1 },
  });
  expect(error).toMatchObject({ code: "TOOL_TIMEOUT", message: "pay has not answered within 10 ms", retryable: true });
  expect(engine.callsOf("failToolCall")).toHaveLength(1);
});

test("whether a tool with an effect that does not answer in time took effect is unknown, so nobody repeats it", async () => {
  const engine = fakeEngine();
  let made = 0;
  const slow = tool({
    timeoutMs: 10,
    run: () => {
      made++;
      return never;
    },
  });
  const { run, error } = await outcomeOf(engine, (ctx) => ctx.tool(slow, { amount: 1 }));
  expect(error).toMatchObject({ code: "TOOL_OUTCOME_UNKNOWN", retryable: false });
  expect(run.toolCalls.get("pay")?.status).toBe(ToolCallStatus.UNKNOWN);
  expect([made, run.run.attempt]).toEqual([1, 2]);
});

test.each([
  ["took effect", { tookEffect: true, result: "receipt 7", note: "found in the ledger" }, "receipt 7", 1],
  ["had no effect", { tookEffect: false, note: "not in the ledger" }, "paid at last", 2],
] as const)(
  "a tool that can look it up says at once that a call without an answer %s",
  async (_what, outcome, result, times) => {
    const engine = fakeEngine();
    let made = 0;
    const slow = tool({
      timeoutMs: 10,
      run: () => (++made === 1 ? never : "paid at last"),
      reconcile: async () => outcome,
    });
    const { output, run } = await outcomeOf(engine, (ctx) => ctx.tool(slow, { amount: 1 }));
    expect(output).toBe(result);
    expect(made).toBe(times);
    expect(run.toolCalls.get("pay")?.status).toBe(ToolCallStatus.SUCCEEDED);
  },
);

test("a result over the tool's limit fails a tool that reads, and is left out of one that had its effect", async () => {
  const large = { maxResultBytes: 10, run: () => "x".repeat(20) };
  const reading = await outcomeOf(fakeEngine(), (ctx) =>
    ctx.tool(tool({ ...large, effect: ToolEffect.READ }), { amount: 1 }),
  );
  expect(reading.error).toMatchObject({ code: "TOOL_RESULT_TOO_LARGE", retryable: false });
  const writing = await outcomeOf(fakeEngine(), (ctx) => ctx.tool(tool(large), { amount: 1 }));
  expect(writing.output).toMatchObject({ omitted: expect.stringContaining("22 bytes") as string });
});

test("a handler that fails while a tool is under way waits for its end, so that nobody has to look it up", async () => {
  const engine = fakeEngine();
  let pays = () => {};
  const slow = tool({ run: () => new Promise<string>((resolve) => (pays = () => resolve("paid"))) });
  const { output, run } = await outcomeOf(engine, async (ctx) => {
    const fail = () => {
      setTimeout(pays, 20);
      throw new Error("down");
    };
    const [paid] = await Promise.all([
      ctx.tool(slow, { amount: 1 }),
      ctx.step("other", ctx.attempt === 1 ? fail : () => 1),
    ]);
    return paid ?? null;
  });
  expect(output).toBe("paid");
  expect(run.toolCalls.get("pay")).toMatchObject({ status: ToolCallStatus.SUCCEEDED, attempt: 1 });
});

/** Leaves the call `pay` open: the worker dies in the middle of the first one. */
async function afterUnknown(engine: FakeEngine, next: (ctx: HandlerContext) => Promise<unknown>) {
  return outcomeOf(engine, async (ctx) => {
    if (ctx.attempt > 1) return next(ctx);
    return ctx.tool("pay", pay, () => {
      engine.expire(engine.runs[0] ?? engine.submit({}));
      return never;
    });
  });
}

test("an unknown outcome is thrown, with the way out, and the tool is not called", async () => {
  let made = 0;
  const { error } = await afterUnknown(fakeEngine(), (ctx) => ctx.tool("pay", pay, () => ++made));
  expect(made).toBe(0);
  expect(error).toMatchObject({
    code: "TOOL_OUTCOME_UNKNOWN",
    message:
      'an earlier attempt called pay (tool call pay) and its outcome is unknown; find out what happened and call ctx.reconcile("pay", …)',
    retryable: false,
  });
});

test("a call that turned out to have taken effect is answered with its result", async () => {
  const { run, output } = await afterUnknown(fakeEngine(), async (ctx) => {
    expect(ctx.unknownToolCalls).toMatchObject([{ key: "pay", tool: "pay" }]);
    await ctx.reconcile("pay", { tookEffect: true, result: { receipt: 7 }, note: "found in the ledger" });
    return ctx.tool("pay", pay, () => "paid twice");
  });
  expect(output).toEqual({ receipt: 7 });
  expect(run.toolCalls.get("pay")).toMatchObject({ status: ToolCallStatus.RECONCILED, note: "found in the ledger" });
});

test("a call that turned out to have had no effect is made again", async () => {
  const { output } = await afterUnknown(fakeEngine(), async (ctx) => {
    await ctx.reconcile("pay", { tookEffect: false, note: "not in the ledger" });
    return ctx.tool("pay", pay, () => "paid");
  });
  expect(output).toBe("paid");
});

test.each([
  [{ tookEffect: true, result: { receipt: 7 }, note: "found in the ledger" }, { receipt: 7 }],
  [{ tookEffect: false, note: "not in the ledger" }, "paid"],
] as const)("a tool that can look it up is asked before it is called again: %j", async (outcome, result) => {
  const asked: unknown[] = [];
  const reconcile = async (args: unknown, { toolCallId }: { toolCallId: string }): Promise<ToolOutcome> => {
    asked.push(args, toolCallId);
    return outcome;
  };
  const { output } = await afterUnknown(fakeEngine(), (ctx) => ctx.tool(tool({ reconcile }), { amount: 5 }));
  expect(output).toEqual(result);
  expect(asked).toEqual([{ amount: 5 }, "tc_pay"]);
});

test("a handler that gives up on an unknown call says so in its own words", async () => {
  const { error } = await afterUnknown(fakeEngine(), async (ctx) => {
    throw new ToolOutcomeUnknownError("a person must look", ctx.unknownToolCalls[0]);
  });
  expect(error).toMatchObject({ code: "TOOL_OUTCOME_UNKNOWN", message: "a person must look" });
});

test("a tool that can not tell whether it took effect leaves the call open, for the next attempt to reconcile", async () => {
  const engine = fakeEngine();
  const { output } = await outcomeOf(engine, async (ctx) => {
    for (const { key } of ctx.unknownToolCalls)
      await ctx.reconcile(key, { tookEffect: true, result: key, note: "asked" });
    return ctx.tool("pay-1", pay, () => {
      throw new ToolOutcomeUnknownError("the bank did not answer");
    });
  });
  expect(output).toBe("pay-1");
  expect(engine.callsOf("failToolCall")).toEqual([]);
});

test("only a call with an unknown outcome can be reconciled", async () => {
  const { error } = await outcomeOf(fakeEngine(), (ctx) => ctx.reconcile("pay-9", { tookEffect: false, note: "?" }));
  expect(error).toMatchObject({ code: "TOOL_CALL_NOT_FOUND", retryable: false });
});
