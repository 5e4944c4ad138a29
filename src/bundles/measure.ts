import { createHash } from "node:crypto";
import type { BundledFile } from "./manifest.ts";

/** Bytes of a file that are counted and hashed as they pass. */
export interface Measured {
  readonly bytes: AsyncGenerator<Uint8Array, void, void>;
  /** What has passed so far; the file, once all has. */
  file(): BundledFile;
}

/** Measures a file's bytes on their way. */
export function measured(path: string, source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Measured {
  const hash = createHash("sha256");
  let sizeBytes = 0n;
  async function* pass() {
    for await (const chunk of source) {
      hash.update(chunk);
      sizeBytes += BigInt(chunk.length);
      yield chunk;
    }
  }
  return { bytes: pass(), file: () => ({ path, sizeBytes, sha256: hash.copy().digest("hex") }) };
}
