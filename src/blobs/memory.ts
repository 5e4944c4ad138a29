import { type Clock, systemClock } from "../kernel/clock.ts";
import { requireBlobName } from "./blob-name.ts";
import { BlobMissingError, type BlobStore, type ByteRange } from "./blob-store.ts";
import { requireRange } from "./byte-range.ts";
import { untilAborted } from "./pieces.ts";

const pieceBytes = 64 * 1024;

interface MemoryBlob {
  readonly bytes: Uint8Array;
  readonly storeTime: Date;
}

/** A store that keeps the bytes in this process, for tests: gone with it, and as large as its memory. */
export function createMemoryBlobs(clock: Clock = systemClock): BlobStore {
  const blobs = new Map<string, MemoryBlob>();

  async function* read(name: string, range: ByteRange, signal?: AbortSignal) {
    const { from, to } = range;
    const bytes = blobs.get(name)?.bytes;
    if (bytes === undefined || bytes.length < to) throw new BlobMissingError(`blob ${name} has no byte ${to - 1}`);
    for (let at = from; at < to; at += pieceBytes) {
      signal?.throwIfAborted();
      yield Buffer.from(bytes.subarray(at, Math.min(at + pieceBytes, to)));
    }
  }

  return {
    kind: "memory",
    async put(name, bytes, signal) {
      requireBlobName(name);
      const pieces: Uint8Array[] = [];
      for await (const piece of untilAborted(bytes, signal)) pieces.push(Buffer.from(piece));
      blobs.set(name, { bytes: Buffer.concat(pieces), storeTime: clock.now() });
    },
    read(name, range, signal) {
      requireBlobName(name);
      requireRange(range);
      return read(name, range, signal);
    },
    async remove(name) {
      requireBlobName(name);
      blobs.delete(name);
    },
    async *list(signal) {
      for (const [name, { bytes, storeTime }] of blobs) {
        signal?.throwIfAborted();
        yield { name, sizeBytes: bytes.length, storeTime };
      }
    },
    [Symbol.asyncDispose]: async () => {},
  };
}
