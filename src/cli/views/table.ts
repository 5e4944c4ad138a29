/** Rows below their headings in columns, without a trailing newline; the headings alone when there are no rows. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headings.map((heading, column) => Math.max(heading.length, ...rows.map((row) => width(row[column]))));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  return [headings, ...rows].map(line).join("\n");
}

/** Names and values below each other, without a trailing newline; pairs with an empty value are left out. */
export function fields(pairs: readonly (readonly [name: string, value: string])[]): string {
  const shown = pairs.filter(([, value]) => value !== "");
  const nameWidth = Math.max(0, ...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${name.padEnd(nameWidth)}  ${value}`).join("\n");
}

function width(cell: string | undefined): number {
  return cell?.length ?? 0;
}
