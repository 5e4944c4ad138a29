import { createHmac, timingSafeEqual } from "node:crypto";

/** HMAC-SHA-256 over the parts, each with its length before it, as 43 characters of base64url. */
export function macOf(key: Uint8Array, ...parts: readonly string[]): string {
  const hmac = createHmac("sha256", key);
  // Length-prefixed, so that ("a", "bc") and ("ab", "c") differ.
  for (const part of parts) hmac.update(`${Buffer.byteLength(part)}:`).update(part);
  return hmac.digest("base64url");
}

/** True when both are the same text; how long it takes tells nothing but their length. */
export function sameText(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
