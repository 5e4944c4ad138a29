import { describe, expect, test } from "vitest";
import { GateVerdict, type Scorecard } from "../../../gen/signalbox/v1/eval_pb.ts";
import { scorecardOf } from "../../../src/engine/evals/scorecard.ts";
import { type Agent, baselineOf, terms, tried, tries } from "./trying.ts";

const { PASS, FAIL, INCONCLUSIVE } = GateVerdict;
const verdict = ({ gate }: Scorecard) => gate?.verdict;
const codes = ({ gate }: Scorecard) => gate?.reasons.map((reason) => reason.code);

/** 20 cases of which most are easy, some are hard, and one is hopeless; 86 % pass. */
const mixed: Agent = {
  passRates: [...Array.from({ length: 12 }, () => 0.99), 0.9, 0.9, 0.8, 0.8, 0.7, 0.6, 0.6, 0.02],
};
const even = (rate: number, cases = 20): Agent => ({ passRates: Array.from({ length: cases }, () => rate) });

describe("200 evaluations of the same agent", () => {
  const count = 200;

  /** The verdicts of 200 evaluations, each against the one before where they have a baseline. */
  function verdicts(agent: Agent, repeats: number, against: boolean): (GateVerdict | undefined)[] {
    let before = baselineOf(tries(agent, repeats, 1));
    return Array.from({ length: count }, (_, index) => {
      const card = scorecardOf(tries(agent, repeats, index + 2), terms, against ? before : undefined);
      before = { ...before, cases: card.cases };
      return verdict(card);
    });
  }

  /** The share of all pairs of evaluations of which one says PASS and the other FAIL. */
  function flips(all: readonly (GateVerdict | undefined)[]): number {
    const [passed, failed] = [PASS, FAIL].map((wanted) => all.filter((one) => one === wanted).length);
    return (passed! * failed!) / ((count * (count - 1)) / 2);
  }

  test.each([
    ["at the threshold", even(0.8)],
    ["a bit above it", even(0.83)],
    ["a bit below it", even(0.77)],
    ["well above it", even(0.95)],
    ["of mixed cases", mixed],
    ["of 5 cases", even(0.8, 5)],
  ])("hardly ever say both PASS and FAIL: %s", (_where, agent) => {
    for (const repeats of [3, 5]) {
      for (const against of [false, true]) expect(flips(verdicts(agent, repeats, against))).toBeLessThan(0.01);
    }
  });

  test("never fail when they are well above the threshold, and mostly pass", () => {
    const seen = verdicts(even(0.95), 10, true);
    expect(seen).not.toContain(FAIL);
    expect(seen.filter((one) => one === PASS).length).toBeGreaterThan(count * 0.9);
  });
});

describe("a gate", () => {
  const good = () => tries(even(0.95), 10, 1);

  test("passes a good agent, and fails one that is clearly below the threshold", () => {
    expect(verdict(scorecardOf(good(), terms, undefined))).toBe(PASS);
    expect(verdict(scorecardOf(tries(even(0.6), 5, 1), terms, undefined))).toBe(FAIL);
  });

  test("fails an agent that is clearly worse than the baseline, though it is above the threshold", () => {
    const low = { ...terms, minPassRate: 0.3 };
    const baseline = baselineOf(tries(even(0.95), 10, 7));
    for (let seed = 1; seed <= 50; seed++) {
      const worse = scorecardOf(tries(even(0.65), 10, seed), low, baseline);
      expect(verdict(worse)).toBe(FAIL);
      expect(worse.baseline?.pValue).toBeLessThan(0.001);
    }
  });

  test("sees what one case has lost although the others are noisy", () => {
    const before = [tried("a", 100), ...Array.from({ length: 4 }, (_, n) => tried(`noisy-${n}`, 50, 50))];
    const after = [tried("a", 0, 100), ...Array.from({ length: 4 }, (_, n) => tried(`noisy-${n}`, 50, 50))];
    const card = scorecardOf(after, { ...terms, minPassRate: 0 }, baselineOf(before));
    expect(verdict(card)).toBe(FAIL);
    expect(card.baseline?.moves[0]).toMatchObject({ key: "a", before: 1, after: 0 });
  });

  test("says nothing after too few repeats, however clear they look", () => {
    const few = scorecardOf([tried("a", 2), tried("b", 30)], terms, undefined);
    expect(verdict(few)).toBe(INCONCLUSIVE);
    expect(few.gate?.reasons[0]?.message).toContain("case a has 2 trials without an error, the least is 3");
    expect(verdict(scorecardOf([tried("a", 3), tried("b", 3)], terms, undefined))).toBe(INCONCLUSIVE);
    expect(verdict(scorecardOf([tried("a", 0, 2)], terms, undefined))).toBe(INCONCLUSIVE);
  });

  test("says nothing without a case, and when all trials are errors", () => {
    expect(codes(scorecardOf([], terms, undefined))).toEqual(["CASES"]);
    expect(verdict(scorecardOf([], terms, undefined))).toBe(INCONCLUSIVE);
    const errors = scorecardOf([tried("a", 0, 0, 20), tried("b", 0, 0, 20)], terms, undefined);
    expect(verdict(errors)).toBe(INCONCLUSIVE);
    expect(errors.passRate).toBeUndefined();
    expect(errors.counts).toMatchObject({ passed: 0, failed: 0, errors: 40 });
  });

  test("takes errors for what is worst for the claim: they neither pass nor fail anybody", () => {
    const sure = { ...terms, minPassRate: 0.8 };
    expect(verdict(scorecardOf([tried("a", 100)], sure, undefined))).toBe(PASS);
    expect(verdict(scorecardOf([tried("a", 100, 0, 30)], sure, undefined))).toBe(INCONCLUSIVE);
    expect(verdict(scorecardOf([tried("a", 0, 30, 200)], sure, undefined))).toBe(INCONCLUSIVE);
    expect(verdict(scorecardOf([tried("a", 0, 30, 5)], sure, undefined))).toBe(FAIL);
  });

  test("goes by what was seen with confidence 0", () => {
    const plain = { ...terms, confidence: 0, minPassRate: 1, minRepeats: 1 };
    expect(verdict(scorecardOf([tried("a", 1), tried("b", 1)], plain, undefined))).toBe(PASS);
    expect(verdict(scorecardOf([tried("a", 1), tried("b", 0, 1)], plain, undefined))).toBe(FAIL);
    const share = { ...plain, minPassRate: 0.8 };
    const four = [1, 1, 1, 1, 0].map((passed, index) => tried(`c${index}`, passed, 1 - passed));
    expect(verdict(scorecardOf(four, share, undefined))).toBe(PASS);
  });

  test("says nothing against a baseline that has no case in common", () => {
    const card = scorecardOf(good(), terms, baselineOf([tried("another", 50)]));
    expect(verdict(card)).toBe(INCONCLUSIVE);
    expect(codes(card)).toEqual(["PASS_RATE", "BASELINE"]);
    expect(card.baseline).toMatchObject({ comparedCases: 0, pValue: 1 });
    expect(card.baseline?.difference).toBeUndefined();
    expect(card.baseline?.unmatchedKeys).toContain("another");
  });

  test("leaves cases out of the comparison that only one side has, or that were changed", () => {
    const baseline = baselineOf([tried("same", 50), tried("gone", 50)]);
    const changed = baseline.cases.map((score) => (score.key === "gone" ? { ...score, key: "new" } : score));
    const other = changed.map((score) => (score.key === "same" ? score : { ...score, digest: "0" }));
    const card = scorecardOf([tried("same", 50), tried("new", 0, 50)], terms, { ...baseline, cases: other });
    expect(card.baseline).toMatchObject({ comparedCases: 1, unmatchedKeys: ["new"] });
    expect(card.baseline?.difference?.value).toBe(0);
  });
});

test("heavy cases count more", () => {
  const card = scorecardOf([tried("heavy", 40, 0, 0, 9), tried("light", 0, 40, 0, 1)], terms, undefined);
  expect(card.passRate?.value).toBeCloseTo(0.9, 12);
});

test("a scorecard counts, times and names what went wrong", () => {
  const [one] = [tried("a", 1, 7, 1)];
  const measured = (runId: string, latencyMs: number) => {
    return { runId, latencyMs, inputTokens: 10, outputTokens: 2, costMicros: 5 };
  };
  const trials = one.trials.map((each, index) => ({ ...each, measured: measured(`run_${index}`, (index + 1) * 100) }));
  const { cases, counts, latency, usage } = scorecardOf([{ ...one, trials }], terms, undefined);
  expect(counts).toMatchObject({ passed: 1, failed: 7, errors: 1 });
  expect(latency).toMatchObject({ count: 9, medianMs: 500, p95Ms: 900, maxMs: 900 });
  expect(usage).toMatchObject({ inputTokens: 90n, outputTokens: 18n, costMicros: 45n });
  expect(cases[0]).toMatchObject({ key: "a", costMicros: 45n });
  expect(cases[0]?.flaws).toHaveLength(5);
  expect(cases[0]?.flaws[0]).toMatchObject({ runId: "run_1", repeat: 2, check: "exact", message: "no", error: false });
});
