import * as fc from "fast-check";
import { expect, test } from "vitest";
import { PersistentMap } from "../../src/kernel/persistent-map.ts";

const changes = fc.array(fc.tuple(fc.nat(300).map(String), fc.nat()), { maxLength: 600, size: "max" });

test("holds what a map holds, in the same order", () => {
  fc.assert(
    fc.property(changes, (entries) => {
      const wanted = new Map<string, { value: number }>();
      let map = new PersistentMap<{ value: number }>();
      for (const [key, value] of entries) {
        wanted.set(key, { value });
        map = map.with(key, { value });
      }
      expect([...map.values()]).toEqual([...wanted.values()]);
      expect(map.size).toBe(wanted.size);
      for (let key = 0; key <= 300; key++) {
        expect(map.get(String(key))).toEqual(wanted.get(String(key)));
        expect(map.has(String(key))).toBe(wanted.has(String(key)));
      }
    }),
  );
});

test("stays as it is when another one is made of it", () => {
  fc.assert(
    fc.property(changes, (entries) => {
      const kept: [PersistentMap<number>, number[]][] = [];
      let map = new PersistentMap<number>();
      for (const [key, value] of entries) {
        map = map.with(key, value);
        if (kept.length < 20) kept.push([map, [...map.values()]]);
      }
      for (const [before, values] of kept) expect([...before.values()]).toEqual(values);
    }),
    { numRuns: 20 },
  );
});

test("begins with the entries of a map", () => {
  const map = new PersistentMap(new Map([["a", 1]])).with("b", 2).with("a", 3);
  expect([...map.values()]).toEqual([3, 2]);
  expect(map.size).toBe(2);
});
