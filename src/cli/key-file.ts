import { randomBytes, randomUUID } from "node:crypto";
import { link, readFile, rm, writeFile } from "node:fs/promises";

const keyBytes = 32;

/** The key in a file: 32 bytes in base64. Throws when the file does not hold that, or can not be read. */
export async function readKeyFile(path: string): Promise<Uint8Array> {
  const key = Buffer.from((await readFile(path, "utf8")).trim(), "base64");
  if (key.length === keyBytes) return new Uint8Array(key);
  throw new Error("it does not hold 32 bytes in base64");
}

/**
 * Creates the file with a random key and mode 0600, unless it exists. Linked under its name when it is whole: nobody reads half a
 * key, one creator wins.
 */
export async function createKeyFile(path: string): Promise<void> {
  const draft = `${path}.${randomUUID()}`;
  await writeFile(draft, `${randomBytes(keyBytes).toString("base64")}\n`, { mode: 0o600, flush: true });
  try {
    await link(draft, path);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  } finally {
    await rm(draft);
  }
}
