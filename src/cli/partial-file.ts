import { constants, openAsBlob } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { CliError, exitCodes } from "./cli-error.ts";
import { requireNoFile } from "./save-file.ts";

/** A file on its way. What has come of it stays beside its place when it is disposed unfinished, so that the next try can go on. */
export interface PartialFile extends AsyncDisposable {
  /** What an earlier try has left. To be read before the first append. */
  readonly have: Blob;
  /** Adds bytes behind what is there. */
  append(bytes: Uint8Array): Promise<void>;
  /** Makes it durable and moves it to its place. Throws a CliError when there is a file by now, unless `force` is set. */
  finish(force: boolean): Promise<void>;
  /** Removes it. */
  discard(): Promise<void>;
}

/**
 * Opens `<path>.<key>.part`, which only its owner may read. What an earlier try left there counts up to `sizeBytes`; a longer file
 * begins anew. Throws a CliError when it can not be opened or written, and for a link to somewhere else.
 */
export async function openPartialFile(path: string, key: string, sizeBytes: number): Promise<PartialFile> {
  const partial = `${path}.${key}.part`;
  const failed = (cause: unknown): never => {
    const message = `${path} can not be written: ${cause instanceof Error ? cause.message : String(cause)}`;
    throw new CliError(message, "Choose another place with -o.", exitCodes.failed, { cause });
  };
  // Windows has no O_NOFOLLOW: it is undefined there, which counts as 0.
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW;
  const file = await open(partial, flags, 0o600).catch(failed);
  const have = await begin(file, partial, sizeBytes).catch(async (error: unknown) => {
    await file.close();
    return failed(error);
  });
  let isOpen = true;
  async function close(): Promise<void> {
    if (isOpen) await file.close();
    isOpen = false;
  }
  return {
    have,
    append: (bytes) => file.appendFile(bytes).catch(failed),
    async finish(force) {
      await file.sync().catch(failed);
      // Closed before it moves: Windows does not move what is open.
      await close();
      if (!force) await requireNoFile(path);
      await rename(partial, path).catch(failed);
    },
    async discard() {
      await close();
      await rm(partial, { force: true });
    },
    async [Symbol.asyncDispose]() {
      if (!isOpen) return;
      const { size } = await file.stat();
      await close();
      if (size === 0) await rm(partial, { force: true });
    },
  };
}

async function begin(file: FileHandle, path: string, sizeBytes: number): Promise<Blob> {
  const { size } = await file.stat();
  if (size > sizeBytes) await file.truncate(0);
  return openAsBlob(path);
}
