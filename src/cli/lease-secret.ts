import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { CliError, exitCodes } from "./cli-error.ts";
import { createKeyFile, readKeyFile } from "./key-file.ts";
import type { Settings } from "./settings.ts";

/**
 * The key that seals lease tokens: SIGNALBOX_SECRET, else the one in the data folder, created there once with mode 0600.
 * Throws a CliError when the file can not be used.
 */
export async function leaseSecret({ secret, dataDir }: Pick<Settings, "secret" | "dataDir">): Promise<Uint8Array> {
  if (secret !== undefined) return secret;
  const folder = resolve(dataDir);
  const path = join(folder, "lease-secret");
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await createKeyFile(path);
    return await readKeyFile(path);
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    const hint = "Set SIGNALBOX_SECRET=$(openssl rand -base64 32), the same for every process of the installation.";
    throw new CliError(`the key for lease tokens can not be kept in ${path}: ${cause}`, hint, exitCodes.failed, {
      cause: error,
    });
  }
}
