import { SealBrokenError } from "./seal-broken-error.ts";

/** Bytes that come in pieces, each good until the next one comes, taken in portions of any length without copying them. */
export interface Pieces extends AsyncDisposable {
  /**
   * What `use` makes of the next bytes, in order, in as many pieces as they came in; it has to be done with a piece when it returns.
   * Throws SealBrokenError when there are not so many.
   */
  take<T>(length: number, use: (piece: Uint8Array) => T): Promise<T[]>;
  /** Throws SealBrokenError when there is more. */
  end(): Promise<void>;
}

/** Reads no further ahead than the piece it is in. Disposing it ends the source. */
export function createPieces(source: AsyncIterable<Uint8Array>): Pieces {
  const iterator = source[Symbol.asyncIterator]();
  let piece: Uint8Array = new Uint8Array();

  /** False at the end. */
  async function refill(): Promise<boolean> {
    while (piece.length === 0) {
      const next = await iterator.next();
      if (next.done === true) return false;
      piece = next.value;
    }
    return true;
  }

  return {
    async take<T>(length: number, use: (piece: Uint8Array) => T) {
      const taken: T[] = [];
      for (let missing = length; missing > 0;) {
        if (!(await refill())) throw new SealBrokenError(`the sealed bytes end ${missing} bytes early`);
        const part = piece.subarray(0, missing);
        piece = piece.subarray(part.length);
        missing -= part.length;
        taken.push(use(part));
      }
      return taken;
    },
    async end() {
      if (await refill()) throw new SealBrokenError("there are bytes behind the end of what was sealed");
    },
    [Symbol.asyncDispose]: async () => void (await iterator.return?.()),
  };
}
