import { randomUUID } from "node:crypto";
import { access, open, rename, rm } from "node:fs/promises";
import { CliError, exitCodes, usageError } from "./cli-error.ts";

/**
 * Writes a file that is there as a whole or not at all: beside its place first, then moved there. Only its owner may read it.
 * Throws a CliError when there is one already, unless `force` is set, or when it can not be written.
 */
export async function saveFile(path: string, force: boolean, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  if (!force) await requireNoFile(path);
  const temporary = `${path}.${randomUUID()}.part`;
  const failed = (cause: unknown) => {
    const message = `${path} can not be written: ${cause instanceof Error ? cause.message : String(cause)}`;
    throw new CliError(message, "Choose another place with -o.", exitCodes.failed, { cause });
  };
  try {
    // Closed before it moves: Windows does not move what is open.
    {
      await using file = await open(temporary, "wx", 0o600).catch(failed);
      for await (const piece of bytes) await file.writeFile(piece).catch(failed);
      await file.sync().catch(failed);
    }
    // Somebody else may have been faster.
    if (!force) await requireNoFile(path);
    await rename(temporary, path).catch(failed);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Throws a CliError when there is a file already. */
export async function requireNoFile(path: string): Promise<void> {
  const exists = await access(path).then(
    () => true,
    () => false,
  );
  if (exists)
    throw usageError(`${path} is there already`, "Choose another name with -o, or write over it with --force.");
}
