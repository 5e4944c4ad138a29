import { ConnectError, Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { valueToJson } from "../../src/client/client.ts";
import { until } from "../support/until.ts";
import { fakeEngine } from "./fake-engine.ts";
import { outcomeOf } from "./running.ts";

test("text that comes close together is one piece", async () => {
  const engine = fakeEngine();
  await outcomeOf(engine, async (ctx) => {
    for (const word of ["one ", "two ", "three"]) ctx.emit(word);
    await until(() => engine.deltas.length > 0, { what: "a delta" });
    ctx.emit("four");
  });
  expect(engine.deltas).toMatchObject([
    { stepKey: "output", index: 0, text: "one two three" },
    { stepKey: "output", index: 1, text: "four" },
  ]);
});

test("pieces have a key, and may be data", async () => {
  const engine = fakeEngine();
  await outcomeOf(engine, (ctx) =>
    ctx.step("work", ({ emit }) => {
      emit("text of a step");
      ctx.emit({ key: "progress", data: { done: 1 } });
      ctx.emit({ key: "progress", data: { done: 2 } });
    }),
  );
  expect(engine.deltas.map(({ stepKey, index, text, data }) => [stepKey, index, text, valueToJson(data)])).toEqual([
    ["work", 0, "text of a step", undefined],
    ["progress", 0, "", { done: 1 }],
    ["progress", 1, "", { done: 2 }],
  ]);
});

test("a replay shows nothing again", async () => {
  const engine = fakeEngine();
  await outcomeOf(engine, async (ctx) => {
    ctx.emit("before");
    await ctx.step("a", () => 1);
    ctx.emit("after");
    if (ctx.attempt === 1) throw new Error("again");
    await ctx.step("b", () => 1);
    ctx.emit("new");
  });
  expect(engine.deltas.map(({ text }) => text).join(" ")).toBe("before after new");
});

test("much output is left out rather than waited for, and the gap can be seen", async () => {
  const engine = fakeEngine();
  engine.fault = ({ method }) =>
    method === "publishDeltas" ? new Promise<void>((r) => void setTimeout(r, 50)) : undefined;
  const { status } = await outcomeOf(engine, async (ctx) => {
    for (let i = 0; i < 1_000; i++) ctx.emit({ data: { number: i } });
    await until(() => engine.deltas.length >= 101, { what: "what fits" });
    ctx.emit({ data: "last" });
  });
  expect(status).toBe("SUCCEEDED");
  const indexes = engine.deltas.map(({ index }) => index);
  expect(indexes.length).toBeLessThan(300);
  expect(indexes.at(-1)).toBe(1_000);
  expect(indexes).toEqual(indexes.toSorted((a, b) => a - b));
});

test("a text of any length is cut into pieces that the contract takes", async () => {
  const engine = fakeEngine();
  await outcomeOf(engine, (ctx) => ctx.emit("x".repeat(60_000)));
  await until(() => engine.deltas.map(({ text }) => text).join("").length === 60_000, { what: "all of it" });
  for (const { text } of engine.deltas) expect(text.length).toBeLessThanOrEqual(65_536);
});

test("output that can not be shown never fails the run", async () => {
  const engine = fakeEngine();
  engine.fault = ({ method }) => {
    if (method === "publishDeltas") throw new ConnectError("no such method", Code.Unimplemented);
  };
  const { status } = await outcomeOf(engine, async (ctx) => {
    ctx.emit("text");
    ctx.emit({ data: 1n });
    ctx.emit({ key: "", text: "x" });
    ctx.emit(undefined as unknown as string);
    await until(() => engine.callsOf("publishDeltas").length > 0, { what: "a call" });
  });
  expect(status).toBe("SUCCEEDED");
});
