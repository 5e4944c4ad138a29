import { randomBytes } from "node:crypto";
import { sha256 } from "../kernel/digest.ts";

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/** 22 characters of 62: 130 bits. */
const length = 22;

/** A new token for a link: 22 letters and digits that nobody can guess. */
export function newLinkToken(): string {
  let token = "";
  while (token.length < length) {
    // Bytes beyond the last multiple of 62 would make some characters likelier than others.
    for (const byte of randomBytes(2 * length)) if (byte < 248) token += alphabet.charAt(byte % 62);
  }
  return token.slice(0, length);
}

/** What is on record of a token. Pure. */
export function linkTokenDigest(token: string): Uint8Array {
  return sha256(Buffer.from(token));
}

/** True for what may be a token. Pure. */
export function isLinkToken(text: string): boolean {
  return /^[0-9A-Za-z]{22,64}$/.test(text);
}
