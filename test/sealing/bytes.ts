import { chunkOffset, lastChunk, sealedSize, type SealKey } from "../../src/sealing/format.ts";
import { openSealed, type SealedRange } from "../../src/sealing/open-sealed.ts";
import { seal } from "../../src/sealing/seal.ts";

/** Bytes of a length that are not all alike. */
export function someBytes(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >>> 8)) & 0xff;
  return bytes;
}

/** Bytes in pieces of a size. */
export async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let from = 0; from < bytes.length; from += size) yield bytes.subarray(from, from + size);
}

/** Everything that comes. */
export async function all(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(source));
}

/** Bytes sealed, in one piece. */
export function sealAll(sealKey: SealKey, plain: Uint8Array): Promise<Buffer> {
  return all(seal(sealKey, [plain]));
}

/** A part of stored bytes opened; the whole without a range. The store gives at most what it has. */
export function open(
  sealKey: SealKey,
  stored: Uint8Array,
  sizeBytes: number,
  range: SealedRange = { from: 0, to: sizeBytes },
  pieceBytes = 50_000,
): Promise<Buffer> {
  return all(
    openSealed({ ...sealKey, sizeBytes }, range, ({ from, to }) => inPieces(stored.subarray(from, to), pieceBytes)),
  );
}

/** Opened as who takes a stored thing for what its length says, the way to be fooled by a cut one. */
export function openAsLongAs(sealKey: SealKey, stored: Uint8Array): Promise<Buffer> {
  let sizeBytes = Math.max(0, stored.length - chunkOffset(0) - 16);
  while (sizeBytes > 0 && sealedSize(sizeBytes) > stored.length) sizeBytes--;
  return all(
    openSealed({ ...sealKey, sizeBytes }, { from: 0, to: sizeBytes }, ({ from }) =>
      inPieces(stored.subarray(from), 50_000),
    ),
  );
}

/** Where the chunks of sealed bytes begin, and behind the last one their end. */
export function chunkBounds(plainSize: number): number[] {
  const count = lastChunk(plainSize) + 1;
  return [...Array.from({ length: count }, (_, index) => chunkOffset(index)), sealedSize(plainSize)];
}
