import { glob, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

/** The root of the repository, ending with a slash. */
export const root = fileURLToPath(new URL("../../", import.meta.url));

/** Text of every Markdown file for people, by its path from the root. */
export async function readDocuments(): Promise<ReadonlyMap<string, string>> {
  const paths = await Array.fromAsync(glob(["*.md", "docs/**/*.md"], { cwd: root }));
  return new Map(
    await Promise.all(paths.map(async (path) => [path, await readFile(`${root}${path}`, "utf8")] as const)),
  );
}

/** The fenced code blocks in a language, in order, each with its last line break. */
export function codeBlocks(text: string, language: string): string[] {
  return [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)]
    .filter((match) => match[1] === language)
    .map((match) => match[2] ?? "");
}

/** The cells of every table row whose first cell is code, the backticks of that cell taken off. */
export function codeRows(text: string): string[][] {
  return [...text.matchAll(/^\| `([^`]+)` \|(.*)\|$/gm)].map(([, first = "", rest = ""]) => [
    first,
    ...rest.split("|").map((cell) => cell.trim()),
  ]);
}
