/**
 * The pieces as they come. Once the signal aborts its reason is thrown, also while the source is silent; the source is told
 * to end, and not waited for.
 */
export async function* untilAborted(
  pieces: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, void> {
  if (signal === undefined) {
    yield* pieces;
    return;
  }
  signal.throwIfAborted();
  const source = pieces[Symbol.asyncIterator]();
  let taken = false;
  try {
    for (;;) {
      const next = await nextOrAborted(source, signal);
      if (next.done === true) return;
      taken = true;
      yield next.value;
      taken = false;
    }
  } finally {
    // A generator that waits for its next piece ends after that only, and what it says then interests nobody any more.
    if (signal.aborted) source.return?.().catch(() => {});
    else if (taken) await source.return?.();
  }
}

function nextOrAborted<T>(source: AsyncIterator<T>, signal: AbortSignal): Promise<IteratorResult<T>> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason as Error);
    const settle = () => signal.removeEventListener("abort", stop);
    if (signal.aborted) return stop();
    signal.addEventListener("abort", stop, { once: true });
    source.next().then(resolve, reject).finally(settle);
  });
}

/**
 * The same bytes in pieces of exactly `sizeBytes`, the last one shorter; none when there are no bytes. The pieces lie in
 * `buffers` buffers in turn, so one is good until as many more were asked for: new memory for each would be 100 MB of garbage
 * for a blob of 100 MB, and the engine collects only after some 64. A piece of the source is copied before the next is asked for.
 */
export async function* regroup(
  pieces: AsyncIterable<Uint8Array>,
  sizeBytes: number,
  buffers: number,
): AsyncGenerator<Uint8Array, void, void> {
  const ring: Uint8Array[] = [];
  let length = 0;
  let turn = 0;
  for await (const piece of pieces) {
    for (let rest = piece; rest.length > 0;) {
      const part = rest.subarray(0, sizeBytes - length);
      rest = rest.subarray(part.length);
      // Until the first piece is whole nobody knows whether it takes a whole buffer.
      const least = turn === 0 ? length + part.length : sizeBytes;
      const buffer = (ring[turn] = roomy(ring[turn], length, least, sizeBytes));
      buffer.set(part, length);
      length += part.length;
      if (length < sizeBytes) continue;
      yield buffer;
      turn = (turn + 1) % buffers;
      length = 0;
    }
  }
  const last = ring[turn]?.subarray(0, length);
  if (last !== undefined && length > 0) yield last;
}

/** A buffer with what another one holds, of at least `least` bytes; that one itself if it has them. It grows by doubling, up to `most`. */
function roomy(buffer: Uint8Array | undefined, length: number, least: number, most: number): Uint8Array {
  if (buffer !== undefined && buffer.length >= least) return buffer;
  const grown = Buffer.allocUnsafeSlow(Math.min(most, Math.max(least, 2 * length)));
  if (buffer !== undefined) grown.set(buffer.subarray(0, length));
  return grown;
}
