import { readdir, readFile } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { root } from "../command.ts";

/** Text of every TypeScript file in src/, by its path from the repository's root with forward slashes. */
export async function readSources(): Promise<Map<string, string>> {
  const entries = await readdir(join(root, "src"), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && entry.name.endsWith(".ts"));
  const sources = await Promise.all(
    files.map(async (entry): Promise<[string, string]> => {
      const file = join(entry.parentPath, entry.name);
      return [relative(root, file).replaceAll(sep, "/"), await readFile(file, "utf8")];
    }),
  );
  return new Map(sources.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
