import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { z } from "zod";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { defineTool, type ToolDefinition } from "../../src/tools/define-tool.ts";
import { runTool } from "../../src/tools/run-tool.ts";
import type { Tool, ToolScope } from "../../src/tools/tool.ts";
import { ToolError } from "../../src/tools/tool-error.ts";
import { errorOf, recordingLog, resultOf, scopeOf, textWith } from "./calling.ts";

const input = z.object({});

function tool(run: (scope: ToolScope) => unknown, fields: Partial<ToolDefinition> = {}): Tool {
  const { name = "t", description = "", effect = ToolEffect.READ } = fields;
  return defineTool({ ...fields, name, description, effect, input, run: (_args, scope) => run(scope) });
}

const { EXTERNAL_WRITE, READ } = ToolEffect;

test("a tool answers JSON, or nothing", async () => {
  expect(
    await resultOf(
      tool(() => ({ a: [1, null] })),
      {},
    ),
  ).toEqual({ a: [1, null] });
  expect(
    await resultOf(
      tool(() => undefined),
      undefined,
    ),
  ).toBeUndefined();
});

test("arguments that the tool does not take do not reach it", async () => {
  let calls = 0;
  const error = await errorOf(
    tool(() => calls++),
    { a: 1 },
  );
  expect(error.code).toBe("TOOL_ARGUMENTS_INVALID");
  expect(calls).toBe(0);
});

test("what a tool throws comes through as it is", async () => {
  const thrown = new ToolError("LIMITED", "later", { retryable: true });
  await expect(
    resultOf(
      tool(() => Promise.reject(thrown)),
      {},
    ),
  ).rejects.toBe(thrown);
  const other = new Error("broken");
  const sync = tool(() => {
    throw other;
  });
  await expect(resultOf(sync, {})).rejects.toBe(other);
});

test("a tool that does not answer in time is given up and told so", async () => {
  let told: unknown;
  const hangs = tool(
    ({ signal }) => {
      signal.addEventListener("abort", () => void (told = signal.reason));
      return new Promise(() => {});
    },
    { timeoutMs: 20 },
  );
  const error = await errorOf(hangs, {});
  expect(error).toMatchObject({ code: "TOOL_TIMEOUT", retryable: true, outcomeUnknown: false });
  expect(told).toBe(error);
});

test("a write that is late has an unknown outcome, unless repeating it does no harm", async () => {
  const never = () => new Promise(() => {});
  const write = tool(never, { timeoutMs: 10, effect: EXTERNAL_WRITE });
  expect((await errorOf(write, {})).outcomeUnknown).toBe(true);
  const idempotent = tool(never, { timeoutMs: 10, effect: EXTERNAL_WRITE, idempotent: true });
  expect((await errorOf(idempotent, {})).outcomeUnknown).toBe(false);
});

test("a run that stops ends the wait with the reason, though the tool does not listen", async () => {
  const stop = new AbortController();
  const running = runTool(
    tool(() => sleep(60_000, undefined, { ref: false })),
    {},
    scopeOf({ signal: stop.signal }),
  );
  const reason = new Error("stopped");
  stop.abort(reason);
  await expect(running).rejects.toBe(reason);
  await expect(
    runTool(
      tool(() => 1),
      {},
      scopeOf({ signal: stop.signal }),
    ),
  ).rejects.toBe(reason);
});

test("a tool that fails after its time leaves no rejection behind", async () => {
  const late = Promise.withResolvers<void>();
  const slow = tool(() => late.promise, { timeoutMs: 5 });
  expect((await errorOf(slow, {})).code).toBe("TOOL_TIMEOUT");
  late.reject(new Error("too late"));
  await sleep(0);
});

const notResults: [string, unknown][] = [
  ["a function", () => 1],
  ["a date", new Date(0)],
  ["a bigint", { n: 1n }],
  ["infinity", [Infinity]],
  ["something undefined inside", { a: undefined }],
];
for (const [what, value] of notResults) {
  test(`${what} is no result`, async () => {
    expect(
      (
        await errorOf(
          tool(() => value),
          {},
        )
      ).code,
    ).toBe("TOOL_RESULT_INVALID");
  });
}

test("a result that contains itself is none", async () => {
  const value: Record<string, unknown> = {};
  value["self"] = value;
  expect(
    (
      await errorOf(
        tool(() => value),
        {},
      )
    ).code,
  ).toBe("TOOL_RESULT_INVALID");
});

test("a result that is too large is refused by its bytes, not its characters", async () => {
  const limit = { effect: READ, maxResultBytes: 12 };
  expect(
    await resultOf(
      tool(() => "äääää", limit),
      {},
    ),
  ).toBe("äääää");
  const error = await errorOf(
    tool(() => "ääääää", limit),
    {},
  );
  expect(error).toMatchObject({ code: "TOOL_RESULT_TOO_LARGE", outcomeUnknown: false });
});

test("what had its effect succeeded, though its result can not be kept", async () => {
  const log = recordingLog();
  const big = tool(() => "x".repeat(100), { effect: EXTERNAL_WRITE, maxResultBytes: 50 });
  expect(await resultOf(big, {}, scopeOf({ log }))).toEqual({ omitted: textWith("has 102 bytes") });
  expect(log.lines.map(({ level }) => level)).toEqual(["warn"]);
  const nonsense = tool(() => 1n, { effect: EXTERNAL_WRITE });
  expect(await resultOf(nonsense, {})).toEqual({ omitted: textWith("is a bigint") });
});
