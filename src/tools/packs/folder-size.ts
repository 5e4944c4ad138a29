import { lstat, opendir } from "node:fs/promises";
import { hasCode, openFolder } from "./folder.ts";

/** What is in a folder and the folders inside it. */
export interface FolderSize {
  /** Files and folders. */
  readonly entries: number;
  readonly sizeBytes: number;
}

/** Counts what is in a folder, without following links; stops at `most` entries. Zeros for one that does not exist. */
export async function measureFolder(root: string, segments: readonly string[], most: number): Promise<FolderSize> {
  let entries = 0;
  let sizeBytes = 0;
  const left: (readonly string[])[] = [segments];
  for (let next = left.pop(); next !== undefined && entries < most; next = left.pop()) {
    await using folder = await openFolder(root, next, { create: false });
    if (folder === undefined) continue;
    for await (const entry of await opendir(folder.at("."))) {
      entries++;
      if (entries >= most) break;
      if (entry.isDirectory()) left.push([...next, entry.name]);
      else sizeBytes += await sizeOf(folder.at(entry.name));
    }
  }
  return { entries, sizeBytes };
}

/** 0 for what was removed meanwhile. */
async function sizeOf(path: string): Promise<number> {
  try {
    return (await lstat(path)).size;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return 0;
    throw error;
  }
}
