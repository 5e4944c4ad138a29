import { describe, expect, test } from "vitest";
import { jsonValue, reasonOf, RunEndReason, RunStatus } from "../../src/client/client.ts";
import { builtInHandlers, defineTool, type Handler, HandlerError, ToolEffect } from "../../src/engine/worker.ts";
import { createMockModel, openTestSignalbox, recordRun, type Recording, replayRun } from "../../src/testing/testing.ts";

const day = 24 * 3_600_000;

test("a run ends with its handler's output, and its record can be looked at", async () => {
  const handlers: Record<string, Handler> = {
    add: async (ctx, input) => {
      const [a, b] = await Promise.all([ctx.step("a", () => Number(input)), ctx.step("b", () => 2)]);
      ctx.emit("adding");
      return a + b;
    },
  };
  await using signalbox = await openTestSignalbox({ handlers });
  const { run, output, steps, events, shown } = await signalbox.run({ handler: "add", input: 40 });
  expect(output).toBe(42);
  expect(run.status).toBe(RunStatus.SUCCEEDED);
  expect(steps.map(({ key }) => key)).toEqual(["a", "b"]);
  expect(events.at(0)?.type).toBe("run.created");
  expect(events.at(-1)?.type).toBe("run.succeeded");
  expect(shown.get("output")).toBe("adding");
});

test("time that a run waits for passes at once, and no other", async () => {
  const handlers: Record<string, Handler> = {
    nap: async (ctx) => {
      const begin = ctx.now().getTime();
      await ctx.sleep(30 * day);
      await ctx.sleep(3_600_000);
      return ctx.now().getTime() - begin;
    },
  };
  const now = new Date("2026-02-28T12:00:00Z");
  await using signalbox = await openTestSignalbox({ handlers, now });
  const { output } = await signalbox.run({ handler: "nap" });
  expect(output).toBe(30 * day + 3_600_000);
  expect(signalbox.now().getTime()).toBe(now.getTime() + 30 * day + 3_600_000);
});

test("failed attempts are repeated after their pauses, which pass at once", async () => {
  await using signalbox = await openTestSignalbox({ handlers: builtInHandlers });
  const begin = signalbox.now().getTime();
  const { output, run } = await signalbox.run({ handler: "flaky", input: { failures: 2 } });
  expect(output).toEqual({ attempts: 3 });
  expect(run.failedAttempts).toBe(2);
  expect(signalbox.now().getTime() - begin).toBe(1_000 + 2_000);
});

test("a parent waits for its children, and children of a canceled parent are canceled", async () => {
  const handlers: Record<string, Handler> = {
    ...builtInHandlers,
    family: (ctx, input) =>
      ctx.runAll([1, 2, 3].map((number) => ({ handler: input === "wait" ? "wait" : "echo", input: number }))),
  };
  await using signalbox = await openTestSignalbox({ handlers });
  expect((await signalbox.run({ handler: "family" })).output).toEqual([1, 2, 3]);
  const { run } = await signalbox.run({ handler: "family", input: "wait" });
  expect(run.status).toBe(RunStatus.WAITING);
  await signalbox.client.runs.cancelRun({ runId: run.runId });
  await signalbox.advance(0);
  const { runs } = await signalbox.client.runs.listRuns({ parentRunId: run.runId });
  expect(runs.map(({ status }) => status)).toEqual([RunStatus.CANCELED, RunStatus.CANCELED, RunStatus.CANCELED]);
});

test("a budget pauses a run, and a larger one lets it go on", async () => {
  const handlers: Record<string, Handler> = {
    five: async (ctx) => {
      for (let number = 1; number <= 5; number++) await ctx.step("one", () => number);
      return "done";
    },
  };
  await using signalbox = await openTestSignalbox({ handlers });
  const { run } = await signalbox.run({ handler: "five", budget: { maxSteps: 3n } as never });
  expect(run).toMatchObject({ status: RunStatus.PAUSED, usage: { steps: 3n } });
  await signalbox.client.runs.resumeRun({ runId: run.runId, budget: { maxSteps: 5n } });
  expect((await signalbox.resume(run.runId)).output).toBe("done");
});

test("a deadline that passes while a run waits for time ends it", async () => {
  await using signalbox = await openTestSignalbox({ handlers: builtInHandlers });
  const { run } = await signalbox.run({
    handler: "sleep",
    input: { ms: day },
    maxDuration: { seconds: 3_600n, nanos: 0 } as never,
  });
  expect(run).toMatchObject({ status: RunStatus.FAILED, endReason: RunEndReason.DEADLINE_EXCEEDED });
});

test("a scripted model and tools play their parts", async () => {
  const called: unknown[] = [];
  const weather = defineTool({
    name: "weather",
    description: "The weather of a town.",
    effect: ToolEffect.READ,
    input: {
      type: "object",
      properties: { town: { type: "string" } },
      required: ["town"],
      additionalProperties: false,
    },
    run: (args) => {
      called.push(args);
      return { sky: "clear" };
    },
  });
  const models = createMockModel([{ text: "clear skies over Ulm" }]);
  const handlers: Record<string, Handler> = {
    forecast: async (ctx) => {
      const { sky } = (await ctx.tool("weather", { town: "Ulm" })) as { sky: string };
      const { text } = await ctx.model({ model: "mock/any", messages: [{ role: "user", text: sky }] });
      return text;
    },
  };
  await using signalbox = await openTestSignalbox({ handlers, tools: [weather], models });
  const { output, toolCalls, run, shown } = await signalbox.run({ handler: "forecast" });
  expect(output).toBe("clear skies over Ulm");
  expect(called).toEqual([{ town: "Ulm" }]);
  expect(toolCalls.map(({ tool }) => tool)).toEqual(["weather"]);
  expect(run.usage?.outputTokens).toBeGreaterThan(0n);
  expect([...shown.values()].join("")).toContain("clear skies");
});

test("what a request breaks of the contract is refused as by a server", async () => {
  await using signalbox = await openTestSignalbox({ handlers: builtInHandlers });
  await expect(signalbox.run({ handler: "no such name!" })).rejects.toThrow(/invalid request: handler/);
});

describe("a recording", () => {
  const total: Handler = async (ctx) => {
    const parts: number[] = [];
    for (let number = 1; number <= 3; number++) parts.push(await ctx.step(`part ${number}`, () => Math.random()));
    await ctx.sleep(day);
    return parts.reduce((a, b) => a + b);
  };

  async function recorded(): Promise<Recording> {
    await using signalbox = await openTestSignalbox({ handlers: { total } });
    const { run } = await signalbox.run({ handler: "total" });
    // As from a file.
    return JSON.parse(JSON.stringify(await recordRun(signalbox.client, run.runId))) as Recording;
  }

  test("is replayed by the same code with the recorded results", async () => {
    const recording = await recorded();
    const { output, run } = await replayRun(recording, { handlers: { total } });
    expect(output).toBeTypeOf("number");
    expect(run.runId).toBe(recording.runId);
  });

  test.each<[string, Handler, RegExp]>([
    ["asks for something else", async (ctx) => ctx.step("another", () => 1), /NON_DETERMINISTIC.*part 1/],
    ["leaves something out", async (ctx) => ctx.step("part 1", () => 1), /NON_DETERMINISTIC/],
    [
      "does more",
      async (ctx, input) => {
        await total(ctx, input);
        return ctx.step("more", () => 1);
      },
      /more than is on record: step.started/,
    ],
    [
      "returns something else",
      async (ctx, input) => (await total(ctx, input)) === undefined,
      /ended with run.succeeded/,
    ],
    [
      "fails",
      async (ctx, input) => {
        await total(ctx, input);
        throw new HandlerError("BROKEN", "it broke", { retryable: false });
      },
      /run\.failed.*BROKEN it broke/,
    ],
  ])("is refused by code that %s", async (_what, handler, message) => {
    await expect(replayRun(await recorded(), { handlers: { total: handler } })).rejects.toThrow(message);
  });

  test("of a run that is still open can not be made", async () => {
    await using signalbox = await openTestSignalbox({ handlers: builtInHandlers });
    const { run } = await signalbox.run({ handler: "wait" });
    await expect(recordRun(signalbox.client, run.runId)).rejects.toThrow(/has not ended/);
  });

  test("that is none is refused", async () => {
    await expect(replayRun({ version: 2 } as never, { handlers: { total } })).rejects.toThrow(/version/);
  });
});

test("a message that came before anybody asked is taken", async () => {
  const handlers: Record<string, Handler> = {
    ask: async (ctx) => {
      await ctx.sleep(day);
      return ctx.waitForMessage("th_1");
    },
  };
  await using signalbox = await openTestSignalbox({ handlers });
  const { run } = await signalbox.client.runs.createRun({ handler: "ask" });
  await signalbox.client.runs.sendMessage({ runId: run?.runId ?? "", threadId: "th_1", content: jsonValue("early") });
  expect((await signalbox.resume(run?.runId ?? "")).output).toBe("early");
});

test("what the harness does not have is refused by name", async () => {
  await using signalbox = await openTestSignalbox({ handlers: builtInHandlers });
  const { rooms, incidents, pipeline, agents } = signalbox.client;
  const calls = [
    rooms.createRoom({ name: "Yard" }),
    incidents.openIncident({ title: "Mails come twice" }),
    pipeline.getSnapshot({}),
    agents.listAgents({}),
  ];
  for (const call of calls) {
    const refusal = await call.catch((error: unknown) => error);
    expect(reasonOf(refusal)).toBe("NOT_IMPLEMENTED");
    expect(String(refusal)).toContain("signalbox/testing does not have");
  }
});
