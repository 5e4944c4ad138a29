import { expect, test } from "vitest";
import { createStateCache } from "../../src/eventlog/state-cache.ts";

const entry = (sizeBytes: number) => ({ sizeBytes });

test("forgets what was used longest ago when it is full", () => {
  const cache = createStateCache<{ sizeBytes: number }>(3 * 1512);
  for (const key of ["a", "b", "c"]) cache.set(key, entry(1000));
  cache.get("a");
  cache.set("d", entry(1000));
  expect(["a", "b", "c", "d"].map((key) => cache.get(key) !== undefined)).toEqual([true, false, true, true]);
});

test("counts a replaced entry once", () => {
  const cache = createStateCache<{ sizeBytes: number }>(2 * 1512);
  for (let i = 0; i < 10; i++) cache.set("a", entry(1000));
  cache.set("b", entry(1000));
  expect(cache.get("a")).toBeDefined();
});

test("does not keep what is larger than itself, and forgets nothing else for it", () => {
  const cache = createStateCache<{ sizeBytes: number }>(1_512);
  cache.set("a", entry(1_000));
  cache.set("b", entry(2_000));
  expect(cache.get("b")).toBeUndefined();
  expect(cache.get("a")).toBeDefined();
});

test("is empty after it was cleared, with all its room", () => {
  const cache = createStateCache<{ sizeBytes: number }>(1512);
  cache.set("a", entry(1000));
  cache.clear();
  expect(cache.get("a")).toBeUndefined();
  cache.set("b", entry(1000));
  expect(cache.get("b")).toBeDefined();
});
