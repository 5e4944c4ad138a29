import { randomBytes, randomUUID } from "node:crypto";
import { link, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { CliError, exitCodes } from "./cli-error.ts";
import type { Settings } from "./settings.ts";

const secretBytes = 32;

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
    await createOnce(path);
    const key = Buffer.from((await readFile(path, "utf8")).trim(), "base64");
    if (key.length === secretBytes) return new Uint8Array(key);
    throw new Error("it does not hold 32 bytes in base64");
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    const hint = "Set SIGNALBOX_SECRET=$(openssl rand -base64 32), the same for every process of the installation.";
    throw new CliError(`the key for lease tokens can not be kept in ${path}: ${cause}`, hint, exitCodes.failed, {
      cause: error,
    });
  }
}

/** Creates the file unless it exists. Linked under its name when it is whole: nobody reads half a key, one creator wins. */
async function createOnce(path: string): Promise<void> {
  const draft = `${path}.${randomUUID()}`;
  await writeFile(draft, `${randomBytes(secretBytes).toString("base64")}\n`, { mode: 0o600 });
  try {
    await link(draft, path);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  } finally {
    await rm(draft);
  }
}
