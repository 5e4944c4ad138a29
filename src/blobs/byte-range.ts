import type { ByteRange } from "./blob-store.ts";

/** Throws a RangeError unless the range is of whole, safe numbers, its end not before its start. */
export function requireRange({ from, to }: ByteRange): void {
  if (Number.isSafeInteger(from) && Number.isSafeInteger(to) && from >= 0 && from <= to) return;
  throw new RangeError(`not a range of bytes: from ${from} to ${to}`);
}
