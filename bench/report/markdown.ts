import { readFile, writeFile } from "node:fs/promises";
import { cellsOf, headings } from "./cells.ts";
import type { Figure } from "./figure.ts";
import type { Report } from "./report.ts";

const begin = "<!-- Written by `npm run bench -- --write-docs`; do not edit by hand. -->";
const end = "<!-- End of what is written. -->";

/** Puts the report in place of the one in the document. Throws when the document has no place for it. */
export async function writeDocs(file: URL, report: Report): Promise<void> {
  const text = await readFile(file, "utf8");
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from === -1 || to < from) throw new Error(`${file.pathname} has no lines\n${begin}\n${end}`);
  await writeFile(file, `${text.slice(0, from)}${begin}\n\n${markdownReport(report)}\n${text.slice(to)}`);
}

function markdownReport({ startTime, machine, seconds, figures }: Report): string {
  const { processor, cores, memoryGib, system, signalbox, commit, node, nats, postgres } = machine;
  const version = commit === "" ? signalbox : `${signalbox} (${commit})`;
  return [
    `Measured on ${startTime.slice(0, 10)} with Signalbox ${version}, Node ${node}, nats-server ${nats}, Postgres ${postgres},`,
    `on ${cores} cores of ${processor}, ${memoryGib} GiB of memory, ${system}; ${seconds} s for each turn.`,
    "",
    ...Object.entries(figures).flatMap(([name, list]) => [`### ${name}`, "", ...markdownTable(list), ""]),
  ].join("\n");
}

function markdownTable(figures: readonly Figure[]): string[] {
  const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    row(headings),
    row(["---", "--:", "--:", "--:", "---", "---", "---"]),
    ...figures.map((each) => row(cellsOf(each))),
  ];
}
