import { createHash, randomFillSync, randomUUID } from "node:crypto";
import { ulid } from "ulid";

/** The prefixes of our ids; each is followed by `_` and 26 characters of Crockford's base 32. */
export type IdPrefix =
  | "run"
  | "agt"
  | "step"
  | "tc"
  | "msg"
  | "lease"
  | "job"
  | "wrk"
  | "corr"
  | "sch"
  | "doc"
  | "room"
  | "th"
  | "cur"
  | "appr"
  | "inc"
  | "art"
  | "grant"
  | "link"
  | "acc"
  | "suite"
  | "key";

/** Where ids come from: random at the edge, counted in tests. */
export interface IdSource {
  /** A new id of the given kind, sortable by time of creation. */
  next(prefix: IdPrefix): string;
  /** A new event id: a UUID. */
  uuid(): string;
}

// Random bytes are drawn in large pieces: one call a byte, as ulid does by itself, costs 23 µs an id, a pool 0.5 µs.
const pool = new Uint8Array(4096);
let used = pool.length;

function randomFraction(): number {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  return (pool[used++] ?? 0) / 256;
}

/** Random ids. */
export const randomIds: IdSource = {
  next: (prefix) => `${prefix}_${ulid(undefined, randomFraction)}`,
  uuid: () => randomUUID(),
};

const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** The id that belongs to these parts: always the same for the same parts, different for different ones (SHA-256). */
export function derivedId(prefix: IdPrefix, ...parts: string[]): string {
  // Length-prefixed, so that ("a", "bc") and ("ab", "c") differ.
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${Buffer.byteLength(part)}:`).update(part);
  let bits = BigInt(`0x${hash.digest("hex").slice(0, 32)}`);
  let text = "";
  for (let i = 0; i < 26; i++) {
    text = alphabet.charAt(Number(bits & 31n)) + text;
    bits >>= 5n;
  }
  return `${prefix}_${text}`;
}
