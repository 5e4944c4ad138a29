import { constants } from "node:fs";
import { type FileHandle, lstat, mkdir, open, realpath } from "node:fs/promises";
import { join } from "node:path";
import { ToolError } from "../tool-error.ts";

/** A folder inside a root, reached without following a symbolic link. Disposing closes it. */
export interface Folder extends AsyncDisposable {
  /** The path to give to the file system for one of its names. */
  at(name: string): string;
  /** Throws a ToolError PATH_NOT_ALLOWED unless the folder still stands where it stood when it was opened. */
  confirm(): Promise<void>;
}

/** How to open a folder. */
export interface FolderOptions {
  /** Makes what is missing on the way, the root included. */
  readonly create: boolean;
}

// Windows has neither; what stands there is checked by its real path.
const { O_NOFOLLOW = 0, O_DIRECTORY = 0, O_NONBLOCK = 0 } = constants as Partial<typeof constants>;

/**
 * Opens the folder that `segments` lead to from `root`; undefined when it does not exist. Throws a ToolError
 * PATH_NOT_ALLOWED when something on the way is a symbolic link or no folder.
 */
export async function openFolder(
  root: string,
  segments: readonly string[],
  options: FolderOptions,
): Promise<Folder | undefined> {
  try {
    if (options.create) await mkdir(root, { recursive: true, mode: 0o700 });
    // What leads to the root is the operator's, and may be a symbolic link.
    const real = await realpath(root);
    return await (process.platform === "linux" ? walk(real, segments, options) : check(real, segments, options));
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    if (hasCode(error, "ELOOP", "ENOTDIR", "EMLINK")) throw leadsAway(error);
    throw error;
  }
}

/**
 * Opens an entry of a folder for reading, undefined when it does not exist. Throws a ToolError PATH_NOT_ALLOWED for a
 * symbolic link, and for anything but a file with this one name: a folder, a device, a hard link.
 */
export async function openFile(folder: Folder, name: string): Promise<FileHandle | undefined> {
  let handle: FileHandle;
  try {
    // Without O_NONBLOCK, opening a pipe waits for somebody to write to it.
    handle = await open(folder.at(name), constants.O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    if (hasCode(error, "ELOOP", "EMLINK", "ENXIO", "EISDIR")) throw notAFile(name, error);
    throw error;
  }
  try {
    const status = await handle.stat();
    if (!status.isFile() || status.nlink > 1) throw notAFile(name);
    await folder.confirm();
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** True for an error of the file system with one of these codes. */
export function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}

/** Linux reaches the entries of a folder through its handle, so that nobody can put another folder in its place. */
async function walk(root: string, segments: readonly string[], { create }: FolderOptions): Promise<Folder> {
  const flags = constants.O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  let handle = await open(root, flags);
  for (const segment of segments) {
    const path = `/proc/self/fd/${handle.fd}/${segment}`;
    try {
      if (create) await makeFolder(path);
      const inner = await open(path, flags);
      await handle.close();
      handle = inner;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }
  return {
    at: (name) => `/proc/self/fd/${handle.fd}/${name}`,
    async confirm() {},
    [Symbol.asyncDispose]: () => handle.close(),
  };
}

/** Elsewhere the real path is looked at before and after. */
async function check(root: string, segments: readonly string[], { create }: FolderOptions): Promise<Folder> {
  let path = root;
  for (const segment of segments) {
    path = join(path, segment);
    if (create) await makeFolder(path);
    const status = await lstat(path);
    if (!status.isDirectory()) throw leadsAway();
  }
  const place = path;
  const { ino, dev } = await lstat(place);
  return {
    at: (name) => join(place, name),
    async confirm() {
      const now = await lstat(place);
      if ((await realpath(place)) !== place || now.ino !== ino || now.dev !== dev) throw leadsAway();
    },
    async [Symbol.asyncDispose]() {},
  };
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error;
  }
}

function leadsAway(cause?: unknown): ToolError {
  const message = "the path leads through something that is no folder, such as a file or a symbolic link";
  return new ToolError("PATH_NOT_ALLOWED", message, { cause });
}

function notAFile(name: string, cause?: unknown): ToolError {
  const message = `${JSON.stringify(name)} is not a plain file of this folder; links, folders and devices are not opened`;
  return new ToolError("PATH_NOT_ALLOWED", message, { cause });
}
