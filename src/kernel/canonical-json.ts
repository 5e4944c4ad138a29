import type { JsonValue } from "@bufbuild/protobuf";

/**
 * The canonical form of a JSON value (RFC 8785): no white space, keys sorted by their UTF-16 code units, numbers and strings
 * as ECMAScript writes them. The same value has the same text in every language that has a library for it.
 */
export function canonicalJson(value: JsonValue): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  // Half a surrogate pair is stored, as UTF-8 has it, as U+FFFD: the text is that of what is read back.
  if (typeof value === "string") return JSON.stringify(value.toWellFormed());
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  // The default order of strings is that of their UTF-16 code units.
  const keys = Object.keys(value).toSorted();
  return `{${keys.map((key) => `${JSON.stringify(key.toWellFormed())}:${canonicalJson(value[key] ?? null)}`).join(",")}}`;
}
