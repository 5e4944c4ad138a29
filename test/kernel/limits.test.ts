import { create, fromJson, type JsonValue } from "@bufbuild/protobuf";
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

test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
  "%d is refused, wherever it stands: whoever reads JSON could not read it back",
  (number) => {
    const value = create(ValueSchema, { kind: { case: "numberValue", value: number } });
    const list = create(ValueSchema, { kind: { case: "listValue", value: { values: [value] } } });
    expect(() => requireStorable("input", value, 100)).toThrow(`input holds ${number}`);
    expect(() => requireStorable("input", list, 100)).toThrow(`input holds ${number}`);
  },
);

test("a value without a kind is refused, wherever it stands", () => {
  const value = create(ValueSchema);
  const struct = create(ValueSchema, { kind: { case: "structValue", value: { fields: { a: value } } } });
  expect(() => requireStorable("input", value, 100)).toThrow("input holds a google.protobuf.Value without a kind");
  expect(() => requireStorable("input", struct, 100)).toThrow("input holds a google.protobuf.Value without a kind");
});

test("limits are lowered to three quarters of what the broker takes, and never raised", () => {
  const limits = { maxInputBytes: 1_000, maxOutputBytes: 700 };
  expect(fitLimits(limits, 1_000)).toEqual({ maxInputBytes: 750, maxOutputBytes: 700 });
});
