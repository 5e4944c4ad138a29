import { randomBytes } from "node:crypto";
import { BlobMissingError, type BlobStore, type ByteRange } from "../blobs/blob-store.ts";
import { releasing } from "../kernel/release.ts";
import { sealedSize } from "../sealing/format.ts";
import { openSealed } from "../sealing/open-sealed.ts";
import { SealBrokenError } from "../sealing/seal-broken-error.ts";
import { seal } from "../sealing/seal.ts";

/** Whose bytes they are. */
export interface Owner {
  readonly workspaceId: string;
  readonly artifactId: string;
}

/** A piece of an artifact as it is stored. */
export interface SealedPart {
  /** Its name in the store. It is sealed as this, so that no blob can take another one's place. */
  readonly blob: string;
  /** Bytes, unsealed. */
  readonly sizeBytes: number;
}

/** A part is not in the store, or not as it was stored. */
export class PartBrokenError extends Error {
  override readonly name = "PartBrokenError";
  /** Its place among the parts, from 0. */
  readonly index: number;
  readonly blob: string;

  constructor(index: number, blob: string, cause: Error) {
    super(`part ${index} (${blob}): ${cause.message}`, { cause });
    this.index = index;
    this.blob = blob;
  }
}

/** A name for a blob of an artifact that no other has: 104 random bits. */
function blobName({ workspaceId, artifactId }: Owner): string {
  return `${workspaceId}/${artifactId}/${randomBytes(13).toString("hex")}`;
}

/** Seals bytes and stores them; when it throws, nothing is there. Returns the blob's name. STORE_UNAVAILABLE, and what `plain` throws. */
export async function putSealed(
  blobs: Pick<BlobStore, "put">,
  owner: Owner,
  key: Uint8Array,
  plain: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  signal: AbortSignal,
): Promise<string> {
  const blob = blobName(owner);
  await blobs.put(blob, releasing(seal({ key, context: blob }, plain)), signal);
  return blob;
}

/**
 * The bytes of a range over parts that follow one on the other, in pieces of at most 64 KiB; reads no further ahead than its
 * reader, and closes the store's stream when that leaves. Each piece is its reader's own. PartBrokenError before the first byte that is not what was stored;
 * STORE_UNAVAILABLE.
 */
export async function* readParts(
  blobs: Pick<BlobStore, "read">,
  key: Uint8Array,
  parts: readonly SealedPart[],
  range: ByteRange,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let begin = 0;
  for (const [index, { blob, sizeBytes }] of parts.entries()) {
    const within = { from: Math.max(0, range.from - begin), to: Math.min(sizeBytes, range.to - begin) };
    begin += sizeBytes;
    // A part of no bytes is opened as well: that shows that it is there and has none.
    if (within.from > within.to || (within.from === within.to && sizeBytes > 0)) continue;
    const sealed = { key, context: blob, sizeBytes };
    yield* blaming(
      index,
      blob,
      openSealed(sealed, within, (bytes) => blobs.read(blob, bytes, signal)),
    );
  }
}

/** The bytes of all parts as they are stored, one after the other, each piece its reader's own. PartBrokenError for one that is missing or cut; STORE_UNAVAILABLE. */
export async function* readStoredParts(
  blobs: Pick<BlobStore, "read">,
  parts: readonly SealedPart[],
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (const [index, { blob, sizeBytes }] of parts.entries()) {
    const stored = blaming(index, blob, blobs.read(blob, { from: 0, to: sealedSize(sizeBytes) }, signal));
    for await (const piece of stored) yield Uint8Array.from(piece);
  }
}

async function* blaming(index: number, blob: string, bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* bytes;
  } catch (error) {
    if (error instanceof SealBrokenError || error instanceof BlobMissingError) {
      throw new PartBrokenError(index, blob, error);
    }
    throw error;
  }
}
