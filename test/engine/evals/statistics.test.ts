import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  differencePValue,
  normalCdf,
  normalQuantile,
  stratifiedDifference,
  stratifiedShare,
  type Stratum,
  type StratumPair,
  wilson,
} from "../../../src/engine/evals/statistics.ts";

const z95 = normalQuantile(0.95);

const counts = fc
  .tuple(fc.integer({ min: 1, max: 50 }), fc.double({ min: 0, max: 1, noNaN: true }))
  .map(([trials, share]) => ({ trials, passed: Math.round(trials * share) }));

const weighted = <T extends object>(items: readonly (T & { raw: number })[]) => {
  const all = items.reduce((sum, { raw }) => sum + raw, 0);
  return items.map((item) => ({ ...item, weight: item.raw / all }));
};

const raw = fc.double({ min: 0.01, max: 1_000, noNaN: true });
const strata = fc
  .array(fc.tuple(counts, raw), { minLength: 1, maxLength: 20 })
  .map((items): Stratum[] => weighted(items.map(([stratum, weight]) => ({ ...stratum, raw: weight }))));
const pairs = fc
  .array(fc.tuple(counts, counts, raw), { minLength: 1, maxLength: 20 })
  .map((items): StratumPair[] => weighted(items.map(([now, before, weight]) => ({ now, before, raw: weight }))));

describe("the normal distribution", () => {
  test("has the values of the tables", () => {
    expect(normalCdf(0)).toBe(0.5);
    expect(normalCdf(1.959963984540054)).toBeCloseTo(0.975, 14);
    expect(normalCdf(-3)).toBeCloseTo(0.001349898031630095, 14);
    expect(normalQuantile(0.9)).toBeCloseTo(1.6448536269514722, 12);
    expect(normalQuantile(0.999)).toBeCloseTo(3.2905267314919255, 12);
    expect(normalQuantile(0)).toBeCloseTo(0, 12);
  });

  test("rises, and is symmetric", () => {
    fc.assert(
      fc.property(fc.double({ min: -10, max: 10, noNaN: true }), (z) => {
        expect(normalCdf(z) + normalCdf(-z)).toBeCloseTo(1, 12);
        expect(normalCdf(z + 0.01)).toBeGreaterThanOrEqual(normalCdf(z));
      }),
    );
  });
});

describe("the interval of Wilson", () => {
  test("has the values of the literature", () => {
    // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 29 of 29.
    const known: [number, number, number, number][] = [
      [81, 263, 0.2553, 0.3662],
      [15, 148, 0.0624, 0.1605],
      [0, 20, 0, 0.1611],
      [29, 29, 0.883, 1],
    ];
    for (const [passed, trials, lower, upper] of known) {
      const interval = wilson({ passed, trials }, z95);
      expect(interval.lower).toBeCloseTo(lower, 4);
      expect(interval.upper).toBeCloseTo(upper, 4);
    }
  });

  test("holds what was seen, stays within 0 and 1, and mirrors itself", () => {
    fc.assert(
      fc.property(counts, ({ passed, trials }) => {
        const { value, lower, upper } = wilson({ passed, trials }, z95);
        expect(lower).toBeGreaterThanOrEqual(0);
        expect(lower).toBeLessThanOrEqual(value);
        expect(upper).toBeGreaterThanOrEqual(value);
        expect(upper).toBeLessThanOrEqual(1);
        expect(wilson({ passed: trials - passed, trials }, z95).upper).toBeCloseTo(1 - lower, 12);
      }),
    );
  });
});

describe("the share of strata", () => {
  test("has the interval of Wilson when all weigh the same and are tried as often", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), fc.array(fc.nat(20), { minLength: 1, maxLength: 20 }), (n, seen) => {
        const passed = seen.map((count) => Math.min(count, n));
        const share = stratifiedShare(
          passed.map((count) => ({ passed: count, trials: n, weight: 1 / passed.length })),
          z95,
        );
        const all = wilson({ passed: passed.reduce((a, b) => a + b), trials: n * passed.length }, z95);
        expect(share.value).toBeCloseTo(all.value, 10);
        expect(share.lower).toBeCloseTo(all.lower, 6);
        expect(share.upper).toBeCloseTo(all.upper, 6);
      }),
    );
  });

  test("is never surer than if all trials weighed the same", () => {
    fc.assert(
      fc.property(strata, (some) => {
        const { value, lower, upper } = stratifiedShare(some, z95);
        const effective = 1 / some.reduce((sum, { weight, trials }) => sum + weight ** 2 / trials, 0);
        const even = wilson({ passed: value * effective, trials: effective }, z95);
        expect(lower).toBeLessThanOrEqual(even.lower + 1e-6);
        expect(upper).toBeGreaterThanOrEqual(even.upper - 1e-6);
        expect(lower).toBeGreaterThanOrEqual(0);
        expect(upper).toBeLessThanOrEqual(1);
      }),
    );
  });

  test("narrows with confidence down to what was seen", () => {
    fc.assert(
      fc.property(strata, (some) => {
        const [sure, less, none] = [2.5, 1, 0].map((z) => stratifiedShare(some, z));
        expect(sure!.lower).toBeLessThanOrEqual(less!.lower + 1e-9);
        expect(sure!.upper).toBeGreaterThanOrEqual(less!.upper - 1e-9);
        expect(none!.lower).toBeCloseTo(none!.value, 9);
        expect(none!.upper).toBeCloseTo(none!.value, 9);
      }),
    );
  });
});

describe("the difference of strata", () => {
  test("holds what was seen, and mirrors itself when the sides change places", () => {
    fc.assert(
      fc.property(pairs, (some) => {
        const { value, lower, upper } = stratifiedDifference(some, z95);
        expect(lower).toBeLessThanOrEqual(value + 1e-9);
        expect(upper).toBeGreaterThanOrEqual(value - 1e-9);
        expect(lower).toBeGreaterThanOrEqual(-1);
        expect(upper).toBeLessThanOrEqual(1);
        const mirrored = stratifiedDifference(
          some.map(({ now, before, weight }) => ({ now: before, before: now, weight })),
          z95,
        );
        expect(mirrored.lower).toBeCloseTo(-upper, 6);
        expect(mirrored.upper).toBeCloseTo(-lower, 6);
      }),
    );
  });

  test("has the values of the literature", () => {
    // Newcombe 1998, table II, method 6: 56 of 70 and 48 of 80, 9 of 10 and 3 of 10, and so on.
    const known: [number, number, number, number, number, number][] = [
      [56, 70, 48, 80, 0.0528, 0.3382],
      [9, 10, 3, 10, 0.17, 0.8406],
      [6, 7, 2, 7, 0.0342, 0.8534],
      [5, 56, 0, 29, -0.0326, 0.1933],
      [0, 10, 0, 20, -0.1658, 0.2844],
      [0, 10, 0, 10, -0.2879, 0.2879],
      [10, 10, 0, 20, 0.7156, 1],
    ];
    for (const [passed, trials, passedBefore, trialsBefore, lower, upper] of known) {
      const before = { passed: passedBefore, trials: trialsBefore };
      const interval = stratifiedDifference([{ now: { passed, trials }, before, weight: 1 }], z95);
      expect(interval.lower).toBeCloseTo(lower, 4);
      expect(interval.upper).toBeCloseTo(upper, 4);
    }
  });

  test("leaves 0 out of its interval only when the test of Cochran, Mantel and Haenszel rejects", () => {
    fc.assert(
      fc.property(pairs, (some) => {
        const { lower, upper } = stratifiedDifference(some, z95);
        const p = differencePValue(some);
        expect(p).toBeGreaterThanOrEqual(0);
        expect(p).toBeLessThanOrEqual(1);
        // The other way round it holds but for a handful of trials.
        const leavesOut = lower > 1e-6 || upper < -1e-6;
        expect(leavesOut && p >= 0.05).toBe(false);
      }),
    );
  });

  test("has the p value of the textbook", () => {
    // Two strata: 8 of 10 against 4 of 10, and 7 of 10 against 5 of 10. CMH without continuity correction.
    const some = [
      { now: { passed: 8, trials: 10 }, before: { passed: 4, trials: 10 }, weight: 0.5 },
      { now: { passed: 7, trials: 10 }, before: { passed: 5, trials: 10 }, weight: 0.5 },
    ];
    // Expected 6 and 6, variances 100 * 12 * 8 / (400 * 19) each: chi² = 3² / 2.5263.
    const chi = Math.sqrt(9 / (2 * ((100 * 12 * 8) / (400 * 19))));
    expect(differencePValue(some)).toBeCloseTo(2 * (1 - normalCdf(chi)), 12);
  });

  test("can not be shown to be small by a few trials without a flaw", () => {
    const flawless = (trials: number) => ({ passed: trials, trials });
    const few = stratifiedDifference([{ now: flawless(3), before: flawless(3), weight: 1 }], z95);
    const many = stratifiedDifference([{ now: flawless(300), before: flawless(300), weight: 1 }], z95);
    expect(few.lower).toBeLessThan(-0.5);
    expect(many.lower).toBeGreaterThan(-0.02);
  });
});
