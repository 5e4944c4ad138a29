import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A new folder that is removed with everything in it when it is disposed. Its name has a space: paths must be quoted. */
export function temporaryFolder() {
  return mkdtempDisposable(join(tmpdir(), "signalbox stack-"));
}

/** Writes an executable shell script and returns its path. */
export async function script(path: string, ...lines: string[]): Promise<string> {
  await writeFile(path, ["#!/bin/sh", ...lines, ""].join("\n"), { mode: 0o755 });
  return path;
}
