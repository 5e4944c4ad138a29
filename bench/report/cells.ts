import { type Figure, isMet } from "./figure.ts";

/** The headings of a report's columns. */
export const headings = ["", "Signalbox", "limit", "ratio", "target", "", "the limit is"] as const;

/** A figure as a row of text below the headings. */
export function cellsOf(figure: Figure): string[] {
  const { name, unit, product, limit, ratio } = figure;
  const met = isMet(figure);
  return [
    name,
    `${formatNumber(product)} ${unit}`,
    limit === undefined ? "" : `${formatNumber(limit.value)} ${unit}`,
    ratio === undefined ? "" : ratio.toFixed(2),
    targetOf(figure),
    met === undefined ? "" : met ? "met" : "missed",
    limit?.name ?? "",
  ];
}

function targetOf({ target, unit }: Figure): string {
  if (target === undefined) return "";
  return "minRatio" in target ? `ratio ≥ ${target.minRatio}` : `≤ ${formatNumber(target.maxValue)} ${unit}`;
}

/** Three digits at least, thousands apart: `0.35`, `14.6`, `6,300`. */
function formatNumber(value: number): string {
  const decimals = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toLocaleString("en", { minimumFractionDigits: 0, maximumFractionDigits: decimals });
}
