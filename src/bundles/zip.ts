import { makeZip } from "client-zip";

/** A file to put into a zip. */
export interface ZipEntry {
  readonly path: string;
  readonly bytes: AsyncIterable<Uint8Array>;
}

/** How much comes out at once, in bytes. */
const frameBytes = 64 * 1024;

/**
 * The same moment for every file. A zip has local time without a zone, and client-zip takes that of the machine: noon, which
 * no change of clocks has ever left out, is written alike everywhere.
 */
const lastModified = new Date(1980, 0, 1, 12);

/**
 * A zip of the files, in their order, uncompressed: the same files give the same bytes. In pieces of 64 KiB, the last one
 * smaller; reads no further ahead than its reader. Stopping early ends `entries`, and with it what its files come from.
 */
export function zip(entries: AsyncGenerator<ZipEntry, void, void>): AsyncGenerator<Uint8Array, void, void> {
  return framed(zipped(entries));
}

async function* zipped(entries: AsyncGenerator<ZipEntry, void, void>): AsyncGenerator<Uint8Array, void, void> {
  async function next() {
    const { value, done } = await entries.next();
    if (value === undefined || done) return { value: undefined, done: true } as const;
    return { value: { name: value.path, input: value.bytes, lastModified }, done: false } as const;
  }
  // Without `throw`: client-zip would throw `undefined` into the files when its reader stops. We end them ourselves.
  const reader = makeZip({ [Symbol.asyncIterator]: () => ({ next }) }).getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await entries.return();
  }
}

async function* framed(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  let frame = Buffer.allocUnsafe(frameBytes);
  let filled = 0;
  for await (const chunk of chunks) {
    for (let from = 0; from < chunk.length;) {
      const taken = chunk.subarray(from, from + frameBytes - filled);
      frame.set(taken, filled);
      filled += taken.length;
      from += taken.length;
      if (filled < frameBytes) continue;
      yield frame;
      frame = Buffer.allocUnsafe(frameBytes);
      filled = 0;
    }
  }
  if (filled > 0) yield frame.subarray(0, filled);
}
