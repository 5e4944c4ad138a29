import { expect, test } from "vitest";
import { z } from "zod";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { defineTool } from "../../src/tools/define-tool.ts";
import { createToolRegistry } from "../../src/tools/registry.ts";
import type { Tool } from "../../src/tools/tool.ts";
import { errorOf, resultOf } from "./calling.ts";

const add = defineTool({
  name: "add",
  description: "Adds two numbers.",
  effect: ToolEffect.READ,
  input: z.object({ a: z.number(), b: z.number().default(1) }),
  run: ({ a, b }) => a + b,
});

function named(name: string): Tool {
  return { ...add, name };
}

test("a tool has its defaults: version, time, size, and what its effect means for repeating it", () => {
  const read = { version: "1", idempotent: true, reversible: false, timeoutMs: 30_000, maxResultBytes: 262_144 };
  expect(add).toMatchObject(read);
  const write = defineTool({ ...definition(), effect: ToolEffect.WRITE });
  expect(write.idempotent).toBe(false);
});

test("a zod schema becomes a JSON Schema that is closed, with defaults optional", () => {
  expect(add.inputSchema).toEqual({
    type: "object",
    properties: { a: { type: "number" }, b: { type: "number", default: 1 } },
    required: ["a"],
    additionalProperties: false,
  });
});

test("the code of a tool gets what zod makes of the arguments", async () => {
  expect(await resultOf(add, { a: 2 })).toBe(3);
});

test("a rule that only zod knows is held when the tool is called", async () => {
  const even = z.object({ list: z.array(z.number().refine((n) => n % 2 === 0, "must be even")) });
  const tool = defineTool({ ...definition(), input: even });
  const error = await errorOf(tool, { list: [2, 3] });
  expect(error).toMatchObject({ code: "TOOL_ARGUMENTS_INVALID" });
  expect(error.message).toContain("- arguments.list[1] must be even");
});

const bad: [string, object, string][] = [
  ["a name with a blank", { name: "a b" }, '"a b" does not match'],
  ["no name", { name: "" }, "does not match"],
  ["a name that is too long", { name: "x".repeat(129) }, "does not match"],
  ["no version", { version: "" }, "version of t"],
  ["no effect", { effect: ToolEffect.UNSPECIFIED }, "say what tool t can change"],
  ["no time", { timeoutMs: 0 }, "timeoutMs of t"],
  ["half a millisecond", { timeoutMs: 0.5 }, "timeoutMs of t"],
  ["a result without end", { maxResultBytes: Infinity }, "maxResultBytes of t"],
  ["a schema of another type", { input: { type: "string" } }, 'must be "object"'],
  ["a misspelled keyword", { input: { type: "object", requird: ["a"] } }, "requird"],
  ["a date, which JSON does not have", { input: z.object({ at: z.date() }) }, "Date"],
];
for (const [what, fields, problem] of bad) {
  test(`refuses to define a tool with ${what}`, () => {
    expect(() => defineTool({ ...definition(), ...fields })).toThrow(problem);
  });
}

test("lists tools by name and finds them", () => {
  const registry = createToolRegistry([named("b"), named("a.z"), named("a")]);
  expect(registry.list().map(({ name }) => name)).toEqual(["a", "a.z", "b"]);
  expect(registry.get("b")?.name).toBe("b");
  expect(registry.get("toString")).toBeUndefined();
  expect(registry.get("__proto__")).toBeUndefined();
});

test("refuses two tools of one name", () => {
  expect(() => createToolRegistry([named("a"), named("a")])).toThrow("two tools named a");
});

test("asks sources anew each time; a tool of its own wins over one of theirs", () => {
  let tools: Tool[] = [{ ...named("add"), description: "of the source" }];
  const registry = createToolRegistry([add], [{ tools: () => tools }]);
  expect(registry.get("add")?.description).toBe("Adds two numbers.");
  expect(registry.list()).toHaveLength(1);
  tools = [named("late")];
  expect(registry.get("late")).toBeDefined();
  expect(registry.list().map(({ name }) => name)).toEqual(["add", "late"]);
});

test("says what is wrong with arguments so that a model can mend it", () => {
  const registry = createToolRegistry([add]);
  expect(registry.check("add", { a: 1 })).toBeUndefined();
  const error = registry.check("add", { a: "1", c: 2 });
  expect(error?.code).toBe("TOOL_ARGUMENTS_INVALID");
  expect(error?.message).toBe(
    [
      "the arguments of add are not what it takes:",
      '- arguments must not have the property "c"',
      "- arguments.a must be number",
    ].join("\n"),
  );
});

test("lists ten problems and counts the others", () => {
  const registry = createToolRegistry([add]);
  const many = Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`x${n}`, n]));
  const lines = registry.check("add", { a: 1, ...many })?.message.split("\n");
  expect(lines).toHaveLength(12);
  expect(lines?.at(-1)).toBe("- and 20 more");
});

test("absent arguments are no arguments", () => {
  const registry = createToolRegistry([{ ...add, inputSchema: { type: "object" } }]);
  expect(registry.check("add", undefined)).toBeUndefined();
});

const notArguments: [unknown, string][] = [
  [null, "must be object"],
  ["a", "must be object"],
  [[1], "must be object"],
  [{ a: 1n }, "arguments.a is a bigint"],
  [{ a: new Date(0) }, "arguments.a is a Date"],
  [{ a: () => 1 }, "arguments.a is a function"],
  [{ a: Number.NaN }, "arguments.a is NaN"],
  [JSON.parse(`${'{"a":'.repeat(40)}1${"}".repeat(40)}`), "nested more than 32 deep"],
];
for (const [args, problem] of notArguments) {
  test(`refuses arguments of which it says: ${problem}`, () => {
    const error = createToolRegistry([add]).check("add", args);
    expect(error?.code).toBe("TOOL_ARGUMENTS_INVALID");
    expect(error?.message).toContain(problem);
  });
}

test("names the tools there are when one is not found", () => {
  const registry = createToolRegistry([named("a"), named("b")]);
  expect(registry.check("c", {})).toMatchObject({
    code: "TOOL_NOT_FOUND",
    message: 'there is no tool "c"; there are a, b',
  });
  expect(createToolRegistry([]).check("c", {})?.message).toBe('there is no tool "c"; this worker has none');
});

function definition() {
  return {
    name: "t",
    description: "",
    effect: ToolEffect.READ,
    input: z.object({}) as z.ZodType,
    run: () => null,
  };
}
