import { cellsOf, headings } from "./cells.ts";
import type { Report } from "./report.ts";

/** The report as an aligned table for a terminal. */
export function textReport({ figures, machine }: Report): string {
  const groups = Object.entries(figures).map(([name, list]) => ({ name, rows: list.map(cellsOf) }));
  const all = [[...headings], ...groups.flatMap(({ rows }) => rows)];
  const widths = headings.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    `  ${row.map((cell, column) => (isFigure(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0))).join("  ")}`.trimEnd();
  const { processor, cores, node, nats, postgres } = machine;
  return [
    line(headings),
    ...groups.flatMap(({ name, rows }) => ["", name, ...rows.map(line)]),
    "",
    `${processor}, ${cores} cores; Node ${node}, nats-server ${nats}, Postgres ${postgres}.`,
    "Medians of the rounds; the ratio says how close Signalbox comes to the limit, 1 is as good.",
  ].join("\n");
}

/** Figures are aligned on the right. */
function isFigure(column: number): boolean {
  return column >= 1 && column <= 3;
}
