import { createHash } from "node:crypto";
import { type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";

/** SHA-256 of the concatenated chunks: 32 bytes. */
export function sha256(...chunks: Uint8Array[]): Uint8Array {
  const hash = createHash("sha256");
  for (const chunk of chunks) hash.update(chunk);
  return hash.digest();
}

/**
 * SHA-256 of a message's binary form. Map entries are hashed in the order in which the sender wrote them, so callers
 * sort maps first where order must not matter.
 */
export function messageDigest<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): Uint8Array {
  return sha256(toBinary(schema, message));
}

/** True when both are the same bytes. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}
