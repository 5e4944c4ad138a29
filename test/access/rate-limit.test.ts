import * as fc from "fast-check";
import { expect, test } from "vitest";
import { networkOf } from "../../src/access/network.ts";
import { type Bucket, createRateLimit, takeToken } from "../../src/access/rate-limit.ts";
import { createTestClock } from "../../src/testing/test-clock.ts";

test("no minute of any order of requests lets through more than twice the limit, and an idle one lets through the limit", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(3_000), { maxLength: 300 }), fc.integer({ min: 1, max: 20 }), (pauses, perMinute) => {
      let bucket: Bucket | undefined;
      let nowMs = 0;
      const allowed: number[] = [];
      for (const pause of pauses) {
        nowMs += pause;
        const taken = takeToken(bucket, nowMs, perMinute);
        ({ bucket } = taken);
        if (taken.verdict.allowed) allowed.push(nowMs);
        const inMinute = allowed.filter((at) => at > nowMs - 60_000).length;
        expect(inMinute).toBeLessThanOrEqual(2 * perMinute);
      }
      expect(allowed.length).toBeGreaterThanOrEqual(Math.min(pauses.length, perMinute));
    }),
  );
});

test("whoever waits as long as they were told goes on", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5_000 }), (perMinute) => {
      let bucket: Bucket | undefined;
      for (let i = 0; i < perMinute; i++) ({ bucket } = takeToken(bucket, 0, perMinute));
      const { bucket: after, verdict } = takeToken(bucket, 0, perMinute);
      if (verdict.allowed) throw new Error("the limit does not hold");
      expect(takeToken(after, verdict.retryAfterMs, perMinute).verdict.allowed).toBe(true);
      expect(takeToken(after, verdict.retryAfterMs - 1.01, perMinute).verdict.allowed).toBe(false);
    }),
  );
});

test("the first refusal of a minute is reported, the others are counted into the next report", () => {
  const clock = createTestClock(new Date(0));
  const limit = createRateLimit({ clock, perMinute: 1 });
  expect(limit.take("a")).toEqual({ allowed: true, repeatedCount: 0 });
  expect(limit.take("a")).toMatchObject({ allowed: false, reported: true, repeatedCount: 0, retryAfterMs: 60_000 });
  for (let i = 0; i < 5; i++) expect(limit.take("a")).toMatchObject({ allowed: false, reported: false });
  expect(limit.take("b")).toMatchObject({ allowed: true });
  clock.advanceTo(new Date(60_000));
  expect(limit.take("a")).toEqual({ allowed: true, repeatedCount: 5 });
  expect(limit.take("a")).toMatchObject({ allowed: false, reported: true, repeatedCount: 0 });
});

test("a clock that is set back neither gives nor takes", () => {
  const { bucket } = takeToken(undefined, 1_000_000, 2);
  const second = takeToken(bucket, 0, 2);
  expect(second.verdict.allowed).toBe(true);
  expect(takeToken(second.bucket, 0, 2).verdict.allowed).toBe(false);
});

test("remembers so many keys and forgets who asked longest ago", () => {
  const limit = createRateLimit({ clock: createTestClock(new Date(0)), perMinute: 1, maxKeys: 2 });
  for (const key of ["a", "b", "a", "c"]) limit.take(key);
  expect(limit.take("a").allowed).toBe(false);
  expect(limit.take("b").allowed).toBe(true);
});

test.each([
  ["192.0.2.1", "192.0.2.1"],
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:0db8:0001:0002::1", "2001:db8:1:2::/64"],
  ["2001:db8::1", "2001:db8:0:0::/64"],
  ["::1", "0:0:0:0::/64"],
  ["::", "0:0:0:0::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
  ["1:2:3:4:5:6:7::", "1:2:3:4::/64"],
  ["", ""],
  ["nonsense", "nonsense"],
])("%j counts as %j", (address, network) => {
  expect(networkOf(address)).toBe(network);
});
