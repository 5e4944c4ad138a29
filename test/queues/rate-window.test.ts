import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createRateWindow } from "../../src/queues/rate-window.ts";

test("in no stretch of the period begin more than the limit, and room comes exactly when it is said to", () => {
  const gaps = fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 300 });
  fc.assert(
    fc.property(gaps, fc.integer({ min: 1, max: 5 }), (waits, limit) => {
      const periodMs = 100;
      const window = createRateWindow(limit, periodMs);
      const begun: number[] = [];
      let nowMs = 0;
      for (const wait of waits) {
        nowMs += wait;
        const recent = begun.filter((time) => time > nowMs - periodMs);
        expect(window.room(nowMs)).toBe(limit - recent.length);
        expect(window.nextMs()).toBe(recent[0] === undefined ? undefined : recent[0] + periodMs);
        if (recent.length === limit) continue;
        window.begin(nowMs);
        begun.push(nowMs);
      }
    }),
  );
});

test("what began long ago is forgotten", () => {
  const window = createRateWindow(10_000, 1_000);
  for (let timeMs = 0; timeMs < 5_000; timeMs++) window.begin(timeMs);
  expect(window.room(5_000)).toBe(10_000 - 999);
  expect(window.room(10_000)).toBe(10_000);
  expect(window.nextMs()).toBeUndefined();
});
