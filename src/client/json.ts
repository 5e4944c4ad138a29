import { create, type JsonValue, toJson } from "@bufbuild/protobuf";
import { ListValueSchema, NullValue, StructSchema, type Value, ValueSchema } from "@bufbuild/protobuf/wkt";

export type { JsonValue } from "@bufbuild/protobuf";

/** Something that JSON does not have, so that sending it would lose or change it. The message says where and what. */
export class NotJsonError extends TypeError {
  override readonly name: string = "NotJsonError";
}

// Protobuf readers stop at 100 nested messages, an object costs up to three of them, and a few go to what surrounds it.
const maxDepth = 32;

/**
 * The google.protobuf.Value of null, a boolean, a finite number, a string, or arrays and plain objects of these, nested
 * up to 32 deep. What comes back from the record is deeply equal to `x`: nothing is converted or left out on the way.
 * Throws NotJsonError for anything else, with the path to it; the path starts with `name`.
 */
export function jsonValue(x: unknown, name = "value"): Value {
  return convert(x, { path: [name], inside: new Set() });
}

/**
 * The plain value of a google.protobuf.Value; undefined for an unset one. Throws NotJsonError for one that JSON does not
 * have: without a kind, or a number that is not finite.
 */
export function valueToJson(value: Value): JsonValue;
export function valueToJson(value: Value | undefined): JsonValue | undefined;
export function valueToJson(value: Value | undefined): JsonValue | undefined {
  if (value === undefined) return undefined;
  try {
    return toJson(ValueSchema, value);
  } catch (error) {
    throw new NotJsonError(`the google.protobuf.Value has no JSON: ${(error as Error).message}`, { cause: error });
  }
}

interface Place {
  /** How to get there from the outermost value. */
  readonly path: (string | number)[];
  /** The arrays and objects around it. */
  readonly inside: Set<object>;
}

function convert(x: unknown, place: Place): Value {
  switch (typeof x) {
    case "string":
      if (!x.isWellFormed()) throw notJson(place, "has half of a surrogate pair, which is no text");
      return create(ValueSchema, { kind: { case: "stringValue", value: x } });
    case "number":
      if (!Number.isFinite(x)) throw notJson(place, `is ${x}, but JSON has finite numbers only`);
      return create(ValueSchema, { kind: { case: "numberValue", value: x } });
    case "boolean":
      return create(ValueSchema, { kind: { case: "boolValue", value: x } });
    case "bigint":
      throw notJson(place, "is a bigint; give a string, or a number when it is small enough");
    case "undefined":
      throw notJson(place, "is undefined; leave it out, or use null");
    case "object":
      if (x === null) return create(ValueSchema, { kind: { case: "nullValue", value: NullValue.NULL_VALUE } });
      return convertNested(x, place);
    case "function":
    case "symbol":
      throw notJson(place, `is a ${typeof x}`);
  }
}

function convertNested(x: object, place: Place): Value {
  const { inside } = place;
  if (inside.has(x)) throw notJson(place, "contains itself");
  if (inside.size >= maxDepth) throw notJson(place, `is nested more than ${maxDepth} deep`);
  inside.add(x);
  const value = Array.isArray(x) ? convertArray(x, place) : convertObject(x, place);
  inside.delete(x);
  return value;
}

function convertArray(x: unknown[], place: Place): Value {
  // Not map(): it skips holes.
  const values = Array.from(x, (item, index) => convertAt(index, item, place));
  return create(ValueSchema, { kind: { case: "listValue", value: create(ListValueSchema, { values }) } });
}

function convertObject(x: object, place: Place): Value {
  const prototype = Object.getPrototypeOf(x) as object | null;
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    throw notJson(place, `is a ${prototype.constructor.name}; give a plain object, an array or a string made from it`);
  }
  const struct = create(StructSchema);
  for (const [key, item] of Object.entries(x)) {
    if (!key.isWellFormed()) throw notJson(place, "has a key with half of a surrogate pair, which is no text");
    // Not an assignment: it would take the key `__proto__` for the prototype.
    const value = convertAt(key, item, place);
    Object.defineProperty(struct.fields, key, { value, enumerable: true, writable: true, configurable: true });
  }
  return create(ValueSchema, { kind: { case: "structValue", value: struct } });
}

function convertAt(key: string | number, item: unknown, place: Place): Value {
  place.path.push(key);
  const value = convert(item, place);
  place.path.pop();
  return value;
}

function notJson({ path }: Place, problem: string): NotJsonError {
  const [name, ...keys] = path;
  return new NotJsonError(`${name}${keys.map(accessor).join("")} ${problem}`);
}

function accessor(key: string | number): string {
  return typeof key === "string" && /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}
