import { median } from "../support/statistics.ts";

/** One line of the report. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  /** The median of the rounds. */
  readonly product: number;
  /** What could be reached at best, measured in the same rounds; undefined where there is no such thing. */
  readonly limit: Limit | undefined;
  /** The median over the rounds of how close the product comes to the limit: 1 is as good, 0.5 half as good. */
  readonly ratio: number | undefined;
  readonly target: Target | undefined;
  /** The product in each round. */
  readonly rounds: readonly number[];
}

/** A bound that no product above it can pass, and what it is. */
export interface Limit {
  readonly name: string;
  /** The median of the rounds. */
  readonly value: number;
  readonly rounds: readonly number[];
}

/** What was aimed at: at least this ratio, or at most this value. */
export type Target = { readonly minRatio: number } | { readonly maxValue: number };

/** What a figure is made of. */
export interface FigureOptions {
  readonly name: string;
  readonly unit: string;
  /** Which way is better. */
  readonly better: "more" | "less";
  readonly product: readonly number[];
  /** Of several limits, the one that binds counts in each round: the worst of them. */
  readonly limit?: { readonly name: string; readonly rounds: readonly (readonly number[])[] };
  readonly target?: Target;
}

/** The figure of these rounds. */
export function figureOf({ name, unit, better, product, limit, target }: FigureOptions): Figure {
  const worst = better === "more" ? Math.min : Math.max;
  const limits = limit && product.map((_, round) => worst(...limit.rounds.map((each) => each[round] ?? Number.NaN)));
  const ratios = limits?.map((bound, round) => {
    const value = product[round] ?? Number.NaN;
    return better === "more" ? value / bound : bound / value;
  });
  return {
    name,
    unit,
    product: median(product),
    limit: limit && limits && { name: limit.name, value: median(limits), rounds: limits },
    ratio: ratios && median(ratios),
    target,
    rounds: product,
  };
}

/** True when the figure reaches its target; undefined without one. */
export function isMet({ target, ratio = Number.NaN, product }: Figure): boolean | undefined {
  if (target === undefined) return undefined;
  return "minRatio" in target ? ratio >= target.minRatio : product <= target.maxValue;
}
