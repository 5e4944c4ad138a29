import { createDecipheriv } from "node:crypto";
import {
  type ChunkKey,
  chunkBytes,
  chunkNonce,
  chunkOffset,
  headerBytes,
  lastChunk,
  readHeader,
  sealedSize,
  type SealKey,
  tagBytes,
} from "./format.ts";
import { createPieces, type Pieces } from "./pieces.ts";
import { SealBrokenError } from "./seal-broken-error.ts";

/** Bytes from `from` up to, not including, `to`. */
export interface SealedRange {
  readonly from: number;
  readonly to: number;
}

/** Bytes that were sealed. */
export interface Sealed extends SealKey {
  /** How many they were, unsealed. Whoever wrote them down is trusted. */
  readonly sizeBytes: number;
}

/**
 * A part of sealed bytes, in pieces of at most 64 KiB, read in order and no further ahead than its reader. Nothing comes out that was
 * not sealed there: SealBrokenError before the first byte of a chunk that is not whole. A range up to the end shows also that the
 * end is the end. Reads the header and the chunks that the range touches, in at most two reads; RangeError for a range that is not
 * within the bytes. What `read` throws comes through; a piece of it is looked at no more once the next one is asked for. What comes
 * out is its reader's own.
 */
export async function* openSealed(
  sealed: Sealed,
  { from, to }: SealedRange,
  read: (range: SealedRange) => AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const { sizeBytes } = sealed;
  if (!(from >= 0 && from <= to && to <= sizeBytes)) {
    throw new RangeError(`bytes ${from} to ${to} are not within ${sizeBytes} bytes`);
  }
  if (from === to && to < sizeBytes) return;
  const first = Math.floor(from / chunkBytes);
  const last = to === sizeBytes ? lastChunk(sizeBytes) : Math.floor((to - 1) / chunkBytes);
  const apart = first === 0 ? undefined : await readApart(read);
  const start = apart === undefined ? 0 : chunkOffset(first);
  await using pieces = createPieces(read({ from: start, to: Math.min(chunkOffset(last + 1), sealedSize(sizeBytes)) }));
  const chunkKey = readHeader(sealed, apart ?? (await takeHeader(pieces)));
  for (let index = first; index <= last; index++) {
    const begin = index * chunkBytes;
    const chunk = await openChunk(chunkKey, index, pieces, Math.min(chunkBytes, sizeBytes - begin));
    yield* cut(chunk, Math.max(0, from - begin), to - begin);
  }
  await pieces.end();
}

/** The header alone, for a range that begins far behind it. */
async function readApart(read: (range: SealedRange) => AsyncIterable<Uint8Array>): Promise<Buffer> {
  await using pieces = createPieces(read({ from: 0, to: headerBytes }));
  return await takeHeader(pieces);
}

async function takeHeader(pieces: Pieces): Promise<Buffer> {
  return Buffer.concat(await pieces.take(headerBytes, copyOf));
}

async function openChunk(chunkKey: ChunkKey, index: number, pieces: Pieces, length: number): Promise<Buffer[]> {
  const decipher = createDecipheriv("aes-256-gcm", chunkKey.key, chunkNonce(chunkKey, index), {
    authTagLength: tagBytes,
  });
  // Opened piece by piece where they are, and held back until the tag says that they are right.
  const opened = await pieces.take(length, (piece) => decipher.update(piece));
  decipher.setAuthTag(Buffer.concat(await pieces.take(tagBytes, copyOf)));
  try {
    decipher.final();
  } catch (error) {
    throw new SealBrokenError(`chunk ${index} is not what was sealed`, { cause: error });
  }
  return opened;
}

function copyOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes);
}

/** What of the pieces is between two places, counted from their beginning. */
function* cut(pieces: Iterable<Buffer>, from: number, to: number): Generator<Uint8Array> {
  let begin = 0;
  for (const piece of pieces) {
    const part = piece.subarray(Math.max(0, from - begin), Math.max(0, to - begin));
    if (part.length > 0) yield part;
    begin += piece.length;
  }
}
