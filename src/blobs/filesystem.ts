import { randomUUID } from "node:crypto";
import type { Dir } from "node:fs";
import { access, constants, type FileHandle, mkdir, open, opendir, rename, rm, rmdir, stat } from "node:fs/promises";
import { dirname, join, resolve, sep } from "node:path";
import type { Logger } from "pino";
import { SignalboxError } from "../kernel/errors.ts";
import { isBlobName, requireBlobName } from "./blob-name.ts";
import { BlobMissingError, type BlobStore, type ByteRange, type StoredBlob } from "./blob-store.ts";
import { requireRange } from "./byte-range.ts";
import { regroup, untilAborted } from "./pieces.ts";

/** No blob's name has a dot, so none can be here. */
const draftsFolder = ".drafts";
const pieceBytes = 64 * 1024;
/** What is written at once: bytes come in pieces of all sizes, and each write costs a turn of the thread pool. */
const writeBytes = 512 * 1024;
/** How often a blob may lose its folder to a removal beside it before it has its place. */
const placings = 20;

/** Where the files are. */
export interface FilesystemBlobsOptions {
  /** Created with mode 0700 when it is not there. Several servers may share it. */
  readonly dir: string;
  /**
   * A draft that nobody wrote to for so long is what a crash left behind, and removed at opening and by each listing. In
   * milliseconds, default an hour: longer than any call lives, because the draft may be another server's.
   */
  readonly leftOverAgeMs?: number;
  readonly log: Logger;
}

/**
 * A store of files: a blob is written to a draft, synced, renamed to its name, and the folders synced, so that it is there
 * whole or not at all. STORE_UNAVAILABLE when the folder can not be used.
 */
export async function openFilesystemBlobs(options: FilesystemBlobsOptions): Promise<BlobStore> {
  const { dir, leftOverAgeMs = 3_600_000, log } = options;
  const root = resolve(dir);
  const drafts = join(root, draftsFolder);
  await guarded(async () => {
    await mkdir(drafts, { recursive: true, mode: 0o700 });
    await access(drafts, constants.R_OK | constants.W_OK | constants.X_OK);
    await sweep(drafts, Date.now() - leftOverAgeMs);
  });
  return {
    kind: "filesystem",
    async put(name, bytes, signal) {
      const path = pathOf(root, name);
      const draft = join(drafts, randomUUID());
      try {
        await write(draft, bytes, signal);
        await guarded(() => place(root, draft, path));
      } catch (error) {
        for (const file of [draft, path]) {
          await rm(file, { force: true }).catch((err: unknown) =>
            log.warn({ err, file }, "a broken blob stays behind"),
          );
        }
        throw error;
      }
    },
    read(name, range, signal) {
      requireBlobName(name);
      requireRange(range);
      return read(root, name, range, signal);
    },
    async remove(name) {
      const path = pathOf(root, name);
      await requireThere(root);
      await guarded(() => remove(root, path));
    },
    async *list(signal) {
      await requireThere(root);
      await guarded(() => sweep(drafts, Date.now() - leftOverAgeMs));
      yield* list(root, "", signal);
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

/** The one way from a name to a path. The pattern has no dots; that the path stays below the root is checked all the same. */
function pathOf(root: string, name: string): string {
  requireBlobName(name);
  const path = join(root, ...name.split("/"));
  if (!path.startsWith(root + sep))
    throw new TypeError(`the name of a blob leaves its folder: ${JSON.stringify(name)}`);
  return path;
}

async function write(draft: string, bytes: AsyncIterable<Uint8Array>, signal: AbortSignal | undefined): Promise<void> {
  await using file = await guarded(() => open(draft, "wx", 0o600));
  const pieces = regroup(untilAborted(bytes, signal), writeBytes, 1);
  for await (const piece of pieces) await guarded(() => file.appendFile(piece));
  await guarded(() => file.sync());
}

async function place(root: string, draft: string, path: string): Promise<void> {
  for (let placing = 1; ; placing++) {
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await rename(draft, path);
      break;
    } catch (error) {
      // The last blob beside it was removed just now, and the empty folder with it.
      if (codeOf(error) !== "ENOENT" || placing === placings) throw error;
    }
  }
  // Up to the root, also where the folders were there: who made them may not have synced them yet.
  for (let folder = dirname(path); folder.length >= root.length; folder = dirname(folder)) await syncFolder(folder);
}

async function syncFolder(folder: string): Promise<void> {
  // Windows has no folders that can be opened; its renames are written through.
  if (process.platform === "win32") return;
  await using handle = await open(folder, "r");
  await handle.sync();
}

/** Tells a blob that is not there from a disk that is not: STORE_UNAVAILABLE for the disk. */
async function requireThere(root: string): Promise<void> {
  await guarded(() => access(join(root, draftsFolder)));
}

async function* read(
  root: string,
  name: string,
  { from, to }: ByteRange,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, void> {
  await using file = await openBlob(root, name);
  const stats = await guarded(() => file.stat());
  if (!stats.isFile() || stats.size < to) throw new BlobMissingError(`blob ${name} has no byte ${to - 1}`);
  const piece = Buffer.allocUnsafeSlow(Math.min(pieceBytes, to - from));
  for (let at = from; at < to;) {
    signal?.throwIfAborted();
    const [position, length] = [at, Math.min(piece.length, to - at)];
    const { bytesRead } = await guarded(() => file.read(piece, 0, length, position));
    if (bytesRead === 0) throw new BlobMissingError(`blob ${name} became shorter while it was read`);
    yield piece.subarray(0, bytesRead);
    at += bytesRead;
  }
}

async function openBlob(root: string, name: string): Promise<FileHandle> {
  const path = pathOf(root, name);
  const file = await guarded(() => unlessAbsent(open(path, "r")));
  if (file !== undefined) return file;
  await requireThere(root);
  throw new BlobMissingError(`there is no blob ${name}`);
}

/** Removes a file, and the folders that are empty without it. */
async function remove(root: string, path: string): Promise<void> {
  await rm(path, { force: true });
  try {
    for (let folder = dirname(path); folder !== root; folder = dirname(folder)) await rmdir(folder);
  } catch (error) {
    if (!isAbsent(error) && !["ENOTEMPTY", "EEXIST"].includes(codeOf(error))) throw error;
  }
}

async function* list(
  folder: string,
  prefix: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<StoredBlob, void, void> {
  for await (const entry of entriesOf(folder)) {
    signal?.throwIfAborted();
    const [path, name] = [join(folder, entry.name), prefix + entry.name];
    // Drafts, and what others laid here.
    if (!isBlobName(name)) continue;
    if (entry.isDirectory()) {
      yield* list(path, `${name}/`, signal);
    } else {
      const stats = await guarded(() => unlessAbsent(stat(path)));
      if (stats?.isFile()) yield { name, sizeBytes: stats.size, storeTime: stats.mtime };
    }
  }
}

/** What is in a folder; nothing when it is gone meanwhile. */
async function* entriesOf(folder: string) {
  const dir: Dir | undefined = await guarded(() => unlessAbsent(opendir(folder)));
  if (dir === undefined) return;
  try {
    for (let entry = await guarded(() => dir.read()); entry !== null; entry = await guarded(() => dir.read()))
      yield entry;
  } finally {
    await dir.close();
  }
}

async function sweep(drafts: string, before: number): Promise<void> {
  for await (const { name } of entriesOf(drafts)) {
    const stats = await unlessAbsent(stat(join(drafts, name)));
    if (stats !== undefined && stats.mtimeMs <= before) await rm(join(drafts, name), { force: true });
  }
}

async function unlessAbsent<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

function isAbsent(error: unknown): boolean {
  return ["ENOENT", "ENOTDIR"].includes(codeOf(error));
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

async function guarded<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw unavailable(error);
  }
}

/** The message goes to clients, so it names no path: that is in the cause, for the log. */
function unavailable(cause: unknown): SignalboxError {
  if (cause instanceof SignalboxError) return cause;
  const code = codeOf(cause);
  return new SignalboxError(
    "STORE_UNAVAILABLE",
    messages[code] ?? `${trouble} (${code || "unknown"}); ${seeLog}`,
    {},
    cause,
  );
}

const trouble = "the folder of the artifact store can not be used";
const seeLog = "the server's log says why";
const full = "free space on it, or let SIGNALBOX_ARTIFACT_DIR name a folder on a larger one";
const forbidden = "let the user of this process own the folder that SIGNALBOX_ARTIFACT_DIR names";
const gone = "the folder of the artifact store is gone; is its disk mounted?";
const messages: Record<string, string> = {
  ENOENT: gone,
  ENOTDIR: gone,
  ENOSPC: `the disk of the artifact store is full; ${full}`,
  EDQUOT: `the artifact store has used up its share of the disk; ${full}`,
  EACCES: `${trouble}: permission denied; ${forbidden}`,
  EPERM: `${trouble}: permission denied; ${forbidden}`,
  EROFS: `${trouble}: its disk is read-only; let SIGNALBOX_ARTIFACT_DIR name another`,
  EMFILE: "this process has too many files open; raise its limit (ulimit -n), or repeat with backoff",
};
