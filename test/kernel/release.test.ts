import { expect, test } from "vitest";
import { release, releasing } from "../../src/kernel/release.ts";

test("gives back what has its memory to itself, and nothing else", () => {
  const own = Buffer.allocUnsafeSlow(100);
  release(own);
  expect(own.length).toBe(0);
  const shared = Buffer.allocUnsafeSlow(100);
  release(shared.subarray(0, 50));
  release(Buffer.from("of the pool"));
  expect(shared.length).toBe(100);
  expect(Buffer.from("another").toString()).toBe("another");
});

test("gives back a piece when the next one is asked for, not before", async () => {
  async function* source() {
    for (const value of [1, 2, 3]) yield Buffer.allocUnsafeSlow(8).fill(value);
  }
  const seen: Uint8Array[] = [];
  for await (const piece of releasing(source())) {
    expect(seen.every(({ length }) => length === 0)).toBe(true);
    seen.push(piece);
    expect(piece[7]).toBe(seen.length);
  }
  expect(seen.map(({ length }) => length)).toEqual([0, 0, 0]);
});
