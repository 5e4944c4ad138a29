import { randomBytes } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { errorCode } from "./stack-error.ts";

/** The secret in the file, or undefined when there is no such file. */
export async function readSecret(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, "utf8")).trim();
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** A new random secret of 192 bits in hexadecimal, safe inside URLs and quotes, kept in the file with mode 0600. */
export async function createSecret(path: string): Promise<string> {
  const secret = randomBytes(24).toString("hex");
  // Written beside and renamed: a crash leaves a whole secret or none.
  await writeFile(`${path}.new`, `${secret}\n`, { mode: 0o600 });
  await rename(`${path}.new`, path);
  return secret;
}
