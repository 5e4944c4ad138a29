import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root, runCommand } from "./command.ts";

/** The folders that `generate` writes, relative to the repository's root: nobody edits them by hand. */
const generatedFolders = ["gen", "proto/buf"];

/**
 * Writes proto/buf (the rules' own proto) and gen/ (TypeScript for everything in proto/) under `folder`.
 * @throws an error with the program's output when one of the two steps fails.
 */
export async function generate(folder: string): Promise<void> {
  await runOrThrow("node", [join(root, "scripts", "validate-proto.ts")], folder);
  await runOrThrow("buf", ["generate", "--output", folder], root);
}

/**
 * Generates into a folder of its own and compares it with what is committed.
 * Returns the paths that differ, are missing or are left over, sorted; empty when all is up to date.
 */
export async function staleFiles(): Promise<string[]> {
  const fresh = await mkdtemp(join(tmpdir(), "signalbox-gen-"));
  try {
    await generate(fresh);
    const stale = new Set<string>();
    for (const folder of generatedFolders) {
      const [expected, actual] = await Promise.all([readTree(fresh, folder), readTree(root, folder)]);
      for (const [path, text] of expected) if (actual.get(path) !== text) stale.add(path);
      for (const path of actual.keys()) if (!expected.has(path)) stale.add(path);
    }
    return [...stale].toSorted();
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

async function runOrThrow(program: string, args: string[], cwd: string): Promise<void> {
  const { code, output } = await runCommand(program, args, cwd);
  if (code !== 0) throw new Error(`${program} ${args.join(" ")} failed with code ${code}\n${output}`);
}

async function readTree(base: string, folder: string): Promise<Map<string, string>> {
  await mkdir(join(base, folder), { recursive: true });
  const entries = await readdir(join(base, folder), { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const texts = await Promise.all(paths.map((path) => readFile(path, "utf8")));
  return new Map(paths.map((path, index) => [path.slice(base.length + 1), texts[index] ?? ""]));
}
