import type { JsonValue } from "../../client/json.ts";

/** The part of a JSON value that a JSON pointer (RFC 6901) names; undefined when it has none. An empty pointer names it all. */
export function partAt(value: JsonValue | undefined, pointer: string): JsonValue | undefined {
  let part = value;
  for (const step of pointer.split("/").slice(1))
    part = memberOf(part, step.replaceAll("~1", "/").replaceAll("~0", "~"));
  return part;
}

function memberOf(value: JsonValue | undefined, key: string): JsonValue | undefined {
  if (Array.isArray(value)) return /^(0|[1-9]\d{0,9})$/.test(key) ? value[Number(key)] : undefined;
  if (typeof value !== "object" || value === null) return undefined;
  return Object.hasOwn(value, key) ? value[key] : undefined;
}
