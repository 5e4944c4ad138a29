/**
 * Gives the memory of bytes back at once; they are empty from then on. The engine collects buffers only after some 64 MB of them, which
 * is most of a large file. For their owner alone: nobody may look at them any more, nor a write of them be on its way. What shares its
 * memory with other bytes is left to the engine.
 */
export function release(bytes: Uint8Array): void {
  const { buffer, byteLength } = bytes;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}

/** The same pieces; each is given back when the next one is asked for. */
export async function* releasing(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    yield piece;
    release(piece);
  }
}
