import { create, fromJson, type JsonValue } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EvalCaseSchema } from "../../../gen/signalbox/v1/eval_pb.ts";
import { canonicalText } from "../../../src/engine/evals/canonical-text.ts";
import { madeTest, readyChecks } from "../../../src/engine/evals/checks.ts";
import { partAt } from "../../../src/engine/evals/json-pointer.ts";

type Json = { [key: string]: JsonValue };

function says(output: JsonValue | undefined, check: Json, expected?: JsonValue): string {
  const [ready] = readyChecks(
    fromJson(EvalCaseSchema, { key: "c", checks: [check], ...(expected === undefined ? {} : { expected }) }),
  );
  const outcome = ready && madeTest(ready, output);
  return outcome?.kind === "passed" ? "passed" : `${outcome?.kind}: ${outcome?.message}`;
}

const unusable = (check: Json, expected?: JsonValue) => () => says(null, check, expected);

describe("exact", () => {
  test("takes the same JSON in any order of keys, and nothing else", () => {
    expect(says({ b: [1, null], a: "x" }, { exact: { value: { a: "x", b: [1, null] } } })).toBe("passed");
    expect(says(1, { exact: {} }, 1)).toBe("passed");
    expect(says("1", { exact: {} }, 1)).toBe('failed: got "1", expected 1');
    expect(says([1, 2], { exact: { value: [2, 1] } })).toContain("failed");
    expect(says(undefined, { exact: { value: null } })).toBe("failed: there is no output");
  });

  test("is what a case without checks is held to", () => {
    const [check] = readyChecks(fromJson(EvalCaseSchema, { key: "c", expected: { a: 1 } }));
    expect(check && madeTest(check, { a: 1 })).toEqual({ kind: "passed" });
    expect(() => readyChecks(create(EvalCaseSchema, { key: "c" }))).toThrow(
      /case c has neither checks nor an expected/,
    );
  });

  test("compares every JSON value with itself only", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 3 }), fc.jsonValue({ maxDepth: 3 }), (a, b) => {
        const [left, right] = [a, b].map((value) => JSON.parse(JSON.stringify(value)) as JsonValue);
        const same = canonicalText(left!) === canonicalText(right!);
        expect(says(left, { exact: { value: right! } }) === "passed").toBe(same);
        expect(says(left, { exact: { value: left! } })).toBe("passed");
      }),
    );
  });

  test("compares with a value if there is one to compare with", () => {
    expect(unusable({ exact: {} })).toThrow(/case c, check 1 compares with nothing/);
  });
});

describe("contains", () => {
  test("looks for a text in a text, or in the JSON of anything else", () => {
    expect(says("a Double yellow", { contains: { text: "double", ignoreCase: true } })).toBe("passed");
    expect(says("a Double yellow", { contains: { text: "double" } })).toContain("does not contain double");
    expect(says({ aspect: "red" }, { contains: {} }, '"red"')).toBe("passed");
    expect(unusable({ contains: {} }, 7)).toThrow(/looks for nothing/);
  });
});

describe("a JSON Schema", () => {
  const schema = { type: "object", required: ["aspect"], properties: { aspect: { enum: ["red", "green"] } } };

  test("says what is wrong, and where", () => {
    expect(says({ aspect: "red" }, { schema: { schema } })).toBe("passed");
    expect(says({ aspect: "blue" }, { schema: { schema } })).toBe(
      'failed: output.aspect must be one of ["red","green"]',
    );
  });

  test("is refused when it is none, or too large", () => {
    expect(unusable({ schema: { schema: { type: "signal" } } })).toThrow(/case c, check 1 can not be made: /);
    expect(unusable({ schema: { schema: { description: "x".repeat(70_000) } } })).toThrow(/65536/);
  });

  test("that takes for ever is an error of the check, not a verdict", () => {
    const hanging = { type: "string", pattern: "^(a+)+$" };
    expect(says(`${"a".repeat(60)}!`, { schema: { schema: hanging } })).toMatch(/^error: .*more than 1000 ms/);
  });
});

describe("a regular expression", () => {
  test("is searched for", () => {
    expect(says("signal 17 at danger", { pattern: { pattern: "\\b\\d+\\b" } })).toBe("passed");
    expect(says("Signal", { pattern: { pattern: "^signal$", ignoreCase: true } })).toBe("passed");
    expect(says({ n: 17 }, { pattern: { pattern: '^\\{"n":17\\}$' } })).toBe("passed");
    expect(says("clear", { pattern: { pattern: "danger" } })).toBe("failed: clear does not match danger");
  });

  test("can not make a worker hang", () => {
    expect(says(`${"a".repeat(50_000)}!`, { pattern: { pattern: "^(a+)+$" } })).toContain("failed");
  });

  test("is refused when RE2 has no such thing", () => {
    expect(unusable({ pattern: { pattern: "(?=look)ahead" } })).toThrow(/case c, check 1 can not be made: /);
    expect(unusable({ pattern: { pattern: "(" } })).toThrow(/can not be made/);
  });
});

describe("a number", () => {
  test("may be off by what either tolerance allows", () => {
    const check = { pointer: "/speed", number: { value: 100, absolute: 0.5, relative: 0.01 } };
    expect(says({ speed: 101 }, check)).toBe("passed");
    expect(says({ speed: 98.9 }, check)).toBe("failed: got 98.9, expected 100, give or take 1");
    expect(says({ speed: "100" }, check)).toBe('failed: "100" is no number');
    expect(says({}, check)).toBe("failed: the output has nothing at /speed");
    expect(says(0.1 + 0.2, { number: { absolute: 1e-9 } }, 0.3)).toBe("passed");
    expect(unusable({ number: {} }, "3")).toThrow(/compares with no number/);
  });
});

test("a JSON pointer finds what RFC 6901 says", () => {
  const document = { foo: ["bar", "baz"], "": 0, "a/b": 1, "m~n": 8, " ": 7, constructor: null };
  const known: [string, JsonValue | undefined][] = [
    ["", document],
    ["/foo", ["bar", "baz"]],
    ["/foo/0", "bar"],
    ["/", 0],
    ["/a~1b", 1],
    ["/m~0n", 8],
    ["/ ", 7],
    ["/foo/2", undefined],
    ["/foo/01", undefined],
    ["/foo/length", undefined],
    ["/toString", undefined],
    ["/constructor", null],
  ];
  for (const [pointer, value] of known) expect(partAt(document, pointer)).toEqual(value);
});
