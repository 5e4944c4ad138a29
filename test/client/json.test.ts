import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { EventSchema, jsonValue, NotJsonError, valueToJson } from "../../src/client/client.ts";

test("what goes out comes back deeply equal", () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6, stringUnit: "grapheme" }), (x) => {
      const bytes = toBinary(ValueSchema, jsonValue(x));
      expect(valueToJson(fromBinary(ValueSchema, bytes))).toEqual(x);
    }),
  );
});

test("the key __proto__ is a key like any other", () => {
  const x: unknown = JSON.parse('{"__proto__": {"a": 1}, "b": 2}');
  const back = valueToJson(jsonValue(x));
  expect(JSON.stringify(back)).toBe('{"__proto__":{"a":1},"b":2}');
});

class Point {
  x = 1;
}
const loop: unknown[] = [];
loop.push({ back: loop });
function nested(depth: number): unknown {
  return depth === 0 ? 1 : { a: nested(depth - 1) };
}

test.each([
  [undefined, "value is undefined; leave it out, or use null"],
  [{ a: { b: undefined } }, "value.a.b is undefined; leave it out, or use null"],
  [[1, , 2], "value[1] is undefined; leave it out, or use null"], // oxlint-disable-line no-sparse-arrays
  [{ "a b": [Number.NaN] }, 'value["a b"][0] is NaN, but JSON has finite numbers only'],
  [-Infinity, "value is -Infinity, but JSON has finite numbers only"],
  [[1n], "value[0] is a bigint; give a string, or a number when it is small enough"],
  [loop, "value[0].back contains itself"],
  [{ at: new Date(0) }, "value.at is a Date; give a plain object, an array or a string made from it"],
  [new Map(), "value is a Map; give a plain object, an array or a string made from it"],
  [new Point(), "value is a Point; give a plain object, an array or a string made from it"],
  [{ f() {} }, "value.f is a function"],
  [Symbol("s"), "value is a symbol"],
  ["\ud800", "value has half of a surrogate pair, which is no text"],
  [{ "\udc00": 1 }, "value has a key with half of a surrogate pair, which is no text"],
  [nested(33), `value${".a".repeat(32)} is nested more than 32 deep`],
])("%o is refused with its place", (x, message) => {
  expect(() => jsonValue(x)).toThrow(new NotJsonError(message));
});

test("the place starts with the name that the caller gives", () => {
  expect(() => jsonValue({ a: 1n }, "the output")).toThrow("the output.a is a bigint");
});

test("one object in two places is no cycle", () => {
  const shared = { a: 1 };
  expect(valueToJson(jsonValue([shared, shared]))).toEqual([{ a: 1 }, { a: 1 }]);
});

test("the deepest value that is taken can be read back inside an event", () => {
  const deep = nested(32);
  const event = create(EventSchema, { payload: { case: "runCreated", value: { input: jsonValue(deep) } } });
  const { payload } = fromBinary(EventSchema, toBinary(EventSchema, event));
  expect(payload.case === "runCreated" && valueToJson(payload.value.input)).toEqual(deep);
});

test("objects without a prototype are plain", () => {
  expect(valueToJson(jsonValue(Object.assign(Object.create(null) as object, { a: null })))).toEqual({ a: null });
});

test("an unset value is undefined, and one that JSON does not have is refused", () => {
  expect(valueToJson(undefined)).toBeUndefined();
  expect(() => valueToJson(create(ValueSchema))).toThrow(NotJsonError);
  const infinite = create(ValueSchema, { kind: { case: "numberValue", value: Infinity } });
  expect(() => valueToJson(infinite)).toThrow("has no JSON");
});
