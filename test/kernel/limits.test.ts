import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { fitLimits, requireStorable } from "../../src/kernel/limits.ts";

function nested(levels: number): JsonValue {
  let value: JsonValue = 1;
  for (let level = 0; level < levels; level++) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}

const check = (levels: number) => requireStorable("input", fromJson(ValueSchema, nested(levels)), 10_000);

test.each([0, 1, 32])("a value of %i levels is storable", (levels) => {
  expect(() => check(levels)).not.toThrow();
});

test("a value of 33 levels is refused by name", () => {
  expect(() => check(33)).toThrow("input is nested deeper than 32 levels");
});

test("limits are lowered to three quarters of what the broker takes, and never raised", () => {
  const limits = { maxInputBytes: 1_000, maxOutputBytes: 700 };
  expect(fitLimits(limits, 1_000)).toEqual({ maxInputBytes: 750, maxOutputBytes: 700 });
});
