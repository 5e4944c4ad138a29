/** A value that was seen, and the interval around it. */
export interface Estimated {
  readonly value: number;
  readonly lower: number;
  readonly upper: number;
}

/** The trials of one stratum: those of a case. `weight` is its share of all, so that the weights add up to 1. */
export interface Stratum {
  readonly passed: number;
  /** At least 1. */
  readonly trials: number;
  readonly weight: number;
}

/** The trials of one case, now and before. */
export interface StratumPair {
  readonly now: Omit<Stratum, "weight">;
  readonly before: Omit<Stratum, "weight">;
  readonly weight: number;
}

/** The share of a standard normal distribution below `z`, to double precision (Marsaglia 2004). */
export function normalCdf(z: number): number {
  if (Math.abs(z) > 8) return z > 0 ? 1 : 0;
  let term = z;
  let sum = z;
  for (let n = 1; sum + term !== sum; n++) {
    term *= (z * z) / (2 * n + 1);
    sum += term;
  }
  return 0.5 + (sum * Math.exp((-z * z) / 2)) / Math.sqrt(2 * Math.PI);
}

/** How many standard errors an interval reaches to either side to hold the true value with this confidence, 0 to below 1. */
export function normalQuantile(confidence: number): number {
  return bisect(0, 8, (z) => normalCdf(z) < (1 + confidence) / 2);
}

/** The interval of Wilson for a share: `passed` of `trials`, of which there is one at least. */
export function wilson({ passed, trials }: Omit<Stratum, "weight">, z: number): Estimated {
  const value = passed / trials;
  const center = (passed + (z * z) / 2) / (trials + z * z);
  const half = (z / (trials + z * z)) * Math.sqrt(passed * (1 - value) + (z * z) / 4);
  // A bound is never beyond what was seen, whatever the last bit of a sum is.
  return { value, lower: clamp(center - half, 0, value), upper: clamp(center + half, value, 1) };
}

/**
 * The weighted share of all strata, of which there is one at least, with its score interval: a true share P is in it as long as
 * what was seen is within z standard errors of P, in the worst case of how P spreads over the strata. With equal weights and
 * trials that is the interval of Wilson; a heavy stratum with few trials makes it wider.
 */
export function stratifiedShare(strata: readonly Stratum[], z: number): Estimated {
  const value = strata.reduce((sum, { passed, trials, weight }) => sum + (weight * passed) / trials, 0);
  const slopes = strata.map(({ trials, weight }) => trials / weight);
  const steepest = Math.max(...strata.map(({ trials, weight }) => weight / trials));
  // The worst case for any P (by Lagrange) has these shares, for one c; P falls as c rises.
  const worst = (c: number) => {
    let share = 0;
    let variance = 0;
    for (const [index, { trials, weight }] of strata.entries()) {
      const p = clamp(0.5 - c * (slopes[index] ?? 0), 0, 1);
      share += weight * p;
      variance += (weight * weight * p * (1 - p)) / trials;
    }
    return { share, reach: z * Math.sqrt(variance) };
  };
  const bound = (isBelow: (c: number) => boolean) => worst(bisect(-steepest / 2, steepest / 2, isBelow)).share;
  const lower = bound((c) => {
    const { share, reach } = worst(c);
    return share + reach > value;
  });
  const upper = bound((c) => {
    const { share, reach } = worst(c);
    return share - reach > value;
  });
  return { value, lower: clamp(lower, 0, value), upper: clamp(upper, value, 1) };
}

/**
 * How much higher the weighted share is now than before, with the score interval of Miettinen and Nurminen over strata: a true
 * difference D is in it as long as what was seen is within z standard errors of D, with the shares of each stratum being those
 * that fit D and what was seen of both sides. Cases are compared with themselves only, so what differs from case to case does
 * not blur it. At D = 0 it is the test of Cochran, Mantel and Haenszel, which holds with few trials a case.
 */
export function stratifiedDifference(pairs: readonly StratumPair[], z: number): Estimated {
  const value = differenceOf(pairs);
  const isOutside = (difference: number) =>
    Math.abs(value - difference) > z * Math.sqrt(varianceAt(pairs, difference)) + 1e-12;
  return { value, lower: outermost(-1, value, isOutside), upper: outermost(1, value, isOutside) };
}

/** The parts of the way that are looked at: with few trials, differences that fit may have some between them that do not. */
const gridSteps = 100;

/** The difference farthest from what was seen that fits, coming from `end`. */
function outermost(end: number, value: number, isOutside: (difference: number) => boolean): number {
  const at = (step: number) => end + ((value - end) * step) / gridSteps;
  let step = 0;
  while (step < gridSteps && isOutside(at(step))) step++;
  return step === 0 ? end : bisect(at(step - 1), at(step), isOutside);
}

/** How likely a difference at least as large is when nothing has changed in any stratum, 0 to 1. */
export function differencePValue(pairs: readonly StratumPair[]): number {
  const deviation = Math.sqrt(varianceAt(pairs, 0));
  const difference = Math.abs(differenceOf(pairs));
  if (deviation === 0) return difference === 0 ? 1 : 0;
  return 2 * (1 - normalCdf(difference / deviation));
}

function differenceOf(pairs: readonly StratumPair[]): number {
  return pairs.reduce((sum, { now, before, weight }) => sum + weight * (shareOf(now) - shareOf(before)), 0);
}

function varianceAt(pairs: readonly StratumPair[], difference: number): number {
  let variance = 0;
  for (const { now, before, weight } of pairs) {
    const all = now.trials + before.trials;
    const q = likeliestBefore(now, before, difference);
    const p = clamp(q + difference, 0, 1);
    const spread = (p * (1 - p)) / now.trials + (q * (1 - q)) / before.trials;
    variance += (weight * weight * spread * all) / (all - 1);
  }
  return variance;
}

/** The share before that makes what was seen of both sides likeliest when they differ by so much (Miettinen and Nurminen 1985). */
function likeliestBefore(now: StratumPair["now"], before: StratumPair["before"], difference: number): number {
  const all = now.trials + before.trials;
  const passed = now.passed + before.passed;
  // The likelihood is highest at a root of this cubic: all q³ + b q² + c q + d.
  const b = (now.trials + 2 * before.trials) * difference - all - passed;
  const c = (before.trials * difference - all - 2 * before.passed) * difference + passed;
  const d = before.passed * difference * (1 - difference);
  const third = b / (3 * all);
  const offset = third ** 3 - (b * c) / (6 * all ** 2) + d / (2 * all);
  const reach = Math.sign(offset || 1) * Math.sqrt(Math.max(0, third ** 2 - c / (3 * all)));
  const angle = reach === 0 ? Math.PI / 2 : Math.acos(clamp(offset / reach ** 3, -1, 1));
  const root = 2 * reach * Math.cos((Math.PI + angle) / 3) - third;
  return clamp(root, Math.max(0, -difference), Math.min(1, 1 - difference));
}

function shareOf({ passed, trials }: Omit<Stratum, "weight">): number {
  return passed / trials;
}

function clamp(x: number, least: number, most: number): number {
  return Math.min(Math.max(x, least), most);
}

/** Where a condition that holds from `low` on stops to hold, at `high` at the latest. */
function bisect(low: number, high: number, holds: (x: number) => boolean): number {
  let [from, to] = [low, high];
  for (let i = 0; i < 60; i++) {
    const middle = (from + to) / 2;
    if (holds(middle)) from = middle;
    else to = middle;
  }
  return (from + to) / 2;
}
