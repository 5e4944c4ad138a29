import { expect, test } from "vitest";
import { compileSchema } from "../../src/tools/schema.ts";
import type { JsonSchema } from "../../src/tools/tool.ts";
import { ToolError } from "../../src/tools/tool-error.ts";

function problemsOf(schema: JsonSchema, value: unknown): string[] {
  return compileSchema(schema)(value).map(({ path, message }) => `${path} ${message}`);
}

function errorOf(fn: () => unknown): string {
  try {
    fn();
  } catch (error) {
    if (error instanceof ToolError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return "no error";
}

test("names every problem with its path", () => {
  const schema = {
    type: "object",
    properties: {
      files: {
        type: "array",
        items: { type: "object", properties: { "a b": { type: "integer" } }, required: ["name"] },
      },
      mode: { enum: ["fast", "slow"] },
      kind: { const: "x" },
    },
    additionalProperties: false,
  };
  expect(problemsOf(schema, { files: [{ "a b": 1.5 }], mode: "medium", kind: 1, extra: true })).toEqual([
    'arguments must not have the property "extra"',
    "arguments.files[0] must have required property 'name'",
    'arguments.files[0]["a b"] must be integer',
    'arguments.mode must be one of ["fast","slow"]',
    'arguments.kind must be "x"',
  ]);
});

test("converts nothing and fills in nothing", () => {
  const schema = { type: "object", properties: { n: { type: "number" }, d: { type: "number", default: 3 } } };
  const value = { n: "1" };
  expect(problemsOf(schema, value)).toEqual(["arguments.n must be number"]);
  expect(value).toEqual({ n: "1" });
});

test("does not take what every object inherits for an argument", () => {
  const schema = { type: "object", properties: {}, required: ["constructor", "toString"] };
  expect(problemsOf(schema, {})).toHaveLength(2);
});

test("refuses __proto__ as an argument that a closed schema does not name", () => {
  const schema = { type: "object", properties: {}, additionalProperties: false };
  const value: unknown = JSON.parse('{"__proto__": {"admin": true}}');
  expect(problemsOf(schema, value)).toEqual(['arguments must not have the property "__proto__"']);
  expect(({} as { admin?: boolean }).admin).toBeUndefined();
});

test("reads draft-07 and 2020-12, and says so of others", () => {
  const seven = { $schema: "http://json-schema.org/draft-07/schema#", type: "object", dependencies: { a: ["b"] } };
  expect(problemsOf(seven, { a: 1 })).toHaveLength(1);
  const twenty = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    type: "object",
    properties: { a: { prefixItems: [{ type: "string" }] } },
  };
  expect(problemsOf(twenty, { a: [1] })).toEqual(["arguments.a[0] must be string"]);
  expect(errorOf(() => compileSchema({ $schema: "http://json-schema.org/draft-04/schema#", type: "object" }))).toMatch(
    /^TOOL_SCHEMA_INVALID: .*draft 2020-12 and draft-07/,
  );
});

const nonsense: [string, unknown, RegExp][] = [
  ["a type that is none", { type: "object", properties: { a: { type: "strnig" } } }, /schema\/properties\/a/],
  ["a type other than object", { type: "string" }, /must be "object"/],
  ["no type", {}, /must be "object"/],
  ["null", null, /must be an object/],
  ["a list", [], /must be an object/],
  ["a reference to another place", { type: "object", $ref: "https://example.com/x.json" }, /can't resolve reference/],
  ["a reference to nothing", { type: "object", $ref: "#/$defs/none" }, /can't resolve reference/],
  ["a pattern that is none", { type: "object", properties: { a: { pattern: "(" } } }, /pattern|regular expression/i],
  ["a promise", { $async: true, type: "object" }, /\$async/],
  ["too much", { type: "object", description: "x".repeat(70_000) }, /more than the 65536/],
  ["numbers that are none", { type: "object", minProperties: "3" }, /minProperties/],
];
for (const [what, schema, problem] of nonsense) {
  test(`refuses a schema that is ${what}`, () => {
    const message = errorOf(() => compileSchema(schema as JsonSchema));
    expect(message).toMatch(/^TOOL_SCHEMA_INVALID: the JSON Schema can not be used: /);
    expect(message).toMatch(problem);
  });
}

test("refuses a schema that contains itself", () => {
  const schema: Record<string, unknown> = { type: "object" };
  schema["properties"] = { schema };
  expect(errorOf(() => compileSchema(schema))).toContain("schema is not JSON");
});

test("strictly read, refuses keywords that are misspelled", () => {
  const schema = { type: "object", requird: ["a"] };
  expect(errorOf(() => compileSchema({ ...schema }, { strict: true }))).toContain("requird");
  expect(compileSchema(schema)({})).toEqual([]);
});

test("cuts off a regular expression that takes for ever", () => {
  const schema = { type: "object", properties: { a: { type: "string", pattern: "^(a+)+$" } } };
  const check = compileSchema(schema);
  expect(errorOf(() => check({ a: `${"a".repeat(60)}!` }))).toMatch(/^TOOL_ARGUMENTS_INVALID: .*more than 1000 ms/);
  expect(check({ a: "aaa" })).toEqual([]);
});

test("cuts off references that unfold exponentially", () => {
  const levels = Array.from({ length: 40 }, (_, n) => {
    const next = { $ref: `#/$defs/l${n + 1}` };
    return [`l${n}`, { allOf: [next, next] }] as const;
  });
  const schema = {
    type: "object",
    $ref: "#/$defs/l0",
    $defs: { ...Object.fromEntries(levels), l40: { minProperties: 1 } },
  };
  expect(errorOf(() => compileSchema(schema)({ a: 1 }))).toMatch(/^TOOL_(ARGUMENTS|SCHEMA)_INVALID: .*more than/);
});

test("ends a schema that refers to itself without going deeper", () => {
  const schema = { type: "object", $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } } };
  expect(errorOf(() => compileSchema(schema)({}))).toMatch(/^TOOL_SCHEMA_INVALID/);
});

test("cuts off a comparison of everything with everything", () => {
  const schema = { type: "object", properties: { a: { type: "array", uniqueItems: true } } };
  const a = Array.from({ length: 50_000 }, (_, n) => ({ n }));
  expect(errorOf(() => compileSchema(schema)({ a }))).toMatch(/more than 1000 ms/);
});

test("lets references that are part of the schema describe a tree", () => {
  const schema = {
    type: "object",
    properties: { children: { type: "array", items: { $ref: "#" } }, name: { type: "string" } },
    required: ["name"],
  };
  expect(problemsOf(schema, { name: "a", children: [{ name: "b" }, {}] })).toEqual([
    "arguments.children[1] must have required property 'name'",
  ]);
});
