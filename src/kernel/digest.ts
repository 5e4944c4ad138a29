import { createHash } from "node:crypto";
import { type DescMessage, type JsonValue, type MessageShape, toBinary, toJson } from "@bufbuild/protobuf";

/** SHA-256 of the concatenated chunks: 32 bytes. */
export function sha256(...chunks: Uint8Array[]): Uint8Array {
  const hash = createHash("sha256");
  for (const chunk of chunks) hash.update(chunk);
  return hash.digest();
}

/** SHA-256 of a message's binary form. Map entries count in the order in which the sender wrote them. */
export function messageDigest<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): Uint8Array {
  return sha256(toBinary(schema, message));
}

/** SHA-256 of what a request says: two requests that differ only in the order of map entries or JSON keys have the same. */
export function requestDigest<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): Uint8Array {
  return sha256(Buffer.from(JSON.stringify(sortKeys(toJson(schema, message)))));
}

function sortKeys(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, child]) => [key, sortKeys(child)]));
}

/** True when both are the same bytes. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}
