import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { fitLimits, requireStorable } from "../../src/kernel/limits.ts";

function nested(levels: number): JsonValue {
  let value: JsonValue = 1;
  for (let level = 0; level < levels; level++) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}

test.each([
  [0, true],
  [32, true],
  [33, false],
])("a value of %i levels is storable: %s", (levels, storable) => {
  const check = () => requireStorable("input", fromJson(ValueSchema, nested(levels)), 10_000);
  if (storable) check();
  else expect(check).toThrow("input is nested deeper than 32 levels");
  expect.assertions(storable ? 0 : 1);
});

test("limits are lowered to three quarters of what the broker takes, and never raised", () => {
  const limits = { maxInputBytes: 1_000, maxOutputBytes: 700 };
  expect(fitLimits(limits, 1_000)).toEqual({ maxInputBytes: 750, maxOutputBytes: 700 });
});
