import type { Readable } from "node:stream";
import { createBrotliDecompress, createGunzip } from "node:zlib";
import { ToolError } from "../tool-error.ts";

/** The encodings that `readBody` takes off, for the header accept-encoding. */
export const acceptedEncodings = "gzip, br";

/** A body, or as much of it as was asked for. */
export interface Body {
  readonly bytes: Buffer;
  /** Whether there was more. */
  readonly truncated: boolean;
}

/**
 * The first `most` bytes of a body once its encoding is off; the rest is not even read, so that little that unpacks to
 * much does no harm. Throws a ToolError FETCH_FAILED for an encoding that nobody asked for, and what the stream throws.
 */
export async function readBody(raw: Readable, encoding: string | undefined, most: number): Promise<Body> {
  // The loop hears of errors; one that comes of destroying what is left is nobody's.
  raw.on("error", () => {});
  const decoded = decode(raw, encoding);
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of decoded as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > most) break;
    }
  } finally {
    raw.destroy();
    decoded.destroy();
  }
  return { bytes: Buffer.concat(chunks).subarray(0, most), truncated: length > most };
}

/** The body as text when its type says that it is text, in the character set that it names; undefined for other types. */
export function textOf(bytes: Buffer, contentType: string): string | undefined {
  const [type = "", ...parameters] = contentType.toLowerCase().split(";");
  if (!/^\s*(text\/|application\/([\w.+-]*\+)?(json|xml|javascript|ecmascript|x-www-form-urlencoded)\s*$)/.test(type)) {
    return undefined;
  }
  const charset = parameters.map((item) => /^\s*charset="?([\w:-]+)"?\s*$/.exec(item)?.[1]).find(Boolean) ?? "utf-8";
  return decoderFor(charset).decode(bytes);
}

function decode(raw: Readable, encoding = "identity"): Readable {
  switch (encoding.trim().toLowerCase()) {
    case "identity":
    case "":
      return raw;
    case "gzip":
    case "x-gzip":
      return through(raw, createGunzip());
    case "br":
      return through(raw, createBrotliDecompress());
    default:
      raw.destroy();
      throw new ToolError(
        "FETCH_FAILED",
        `the answer is in an encoding that was not asked for: ${encoding.slice(0, 50)}`,
      );
  }
}

function through(raw: Readable, decoder: ReturnType<typeof createGunzip>): Readable {
  raw.on("error", (error) => decoder.destroy(error));
  return raw.pipe(decoder);
}

function decoderFor(charset: string): TextDecoder {
  try {
    return new TextDecoder(charset);
  } catch (error) {
    // A character set that nobody knows is read as UTF-8.
    if (!(error instanceof RangeError)) throw error;
    return new TextDecoder();
  }
}
