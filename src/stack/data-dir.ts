import { constants } from "node:fs";
import { access, mkdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { StackError, errorCode, errorMessage } from "./stack-error.ts";

/** A data folder that belongs to this process until it is disposed. */
export interface DataDir extends AsyncDisposable {
  /** Absolute, with symbolic links resolved. */
  readonly path: string;
}

// SQLite's result code for a lock that somebody else holds (sqlite.org/rescode.html#busy).
const sqliteBusy = 5;

/**
 * Creates the folder (mode 0700) unless it exists, and takes its lock.
 * @throws StackError when the folder cannot be created or written to, or another process holds it.
 */
export async function openDataDir(path: string): Promise<DataDir> {
  const folder = await createFolder(resolve(path));
  const holderFile = join(folder, "lock.pid");
  const lock = await takeLock(folder, holderFile);
  try {
    await writeFile(holderFile, `${process.pid}\n`, { mode: 0o600 });
  } catch (error) {
    lock.close();
    throw unusable(folder, error);
  }
  let disposed: Promise<void> | undefined;
  const dispose = async () => {
    await rm(holderFile, { force: true });
    lock.close();
  };
  return { path: folder, [Symbol.asyncDispose]: () => (disposed ??= dispose()) };
}

async function createFolder(path: string): Promise<string> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    const folder = await realpath(path);
    await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    return folder;
  } catch (error) {
    throw unusable(path, error);
  }
}

// The lock is one of the operating system, borrowed from SQLite since Node has no flock: it ends with the process, however
// that ends, so there is no stale lock to judge by a pid that some other process may have by now.
async function takeLock(folder: string, holderFile: string): Promise<DatabaseSync> {
  let lock: DatabaseSync | undefined;
  try {
    lock = new DatabaseSync(join(folder, "lock"));
    lock.exec("begin exclusive");
    return lock;
  } catch (error) {
    lock?.close();
    const isBusy = error instanceof Error && "errcode" in error && error.errcode === sqliteBusy;
    if (!isBusy) throw unusable(folder, error);
    const holder = await readHolder(holderFile);
    throw new StackError(
      `the data folder ${folder} is in use by ${holder === undefined ? "another process" : `process ${holder}`}`,
      `Stop ${holder === undefined ? "that process" : `it (kill ${holder})`}, or choose another folder with SIGNALBOX_DATA_DIR.`,
      { cause: error },
    );
  }
}

async function readHolder(holderFile: string): Promise<number | undefined> {
  try {
    return Number.parseInt(await readFile(holderFile, "utf8"), 10) || undefined;
  } catch {
    // The holder has the lock but has not written its pid yet: the lock alone decides.
    return undefined;
  }
}

/** Why the folder, or a file below it, cannot be used, from an error of the file system. */
export function unusable(folder: string, error: unknown): StackError {
  const refused = error instanceof Error && "path" in error && error.path !== folder ? ` (${String(error.path)})` : "";
  return new StackError(
    `the data folder ${folder} cannot be used: ${causes[errorCode(error) ?? ""] ?? errorMessage(error)}${refused}`,
    "Give this user read and write access to all of it and space on its disk, or choose another folder with SIGNALBOX_DATA_DIR.",
    { cause: error },
  );
}

const notAllowed = "this user may not write there";
const causes: Record<string, string> = {
  EACCES: notAllowed,
  EPERM: notAllowed,
  EROFS: "its file system is read-only",
  EEXIST: "it is a file",
  ENOTDIR: "a part of its path is a file",
  ENOSPC: "its disk is full",
  EDQUOT: "this user's share of its disk is full",
};
