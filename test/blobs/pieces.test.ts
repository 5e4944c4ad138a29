import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { regroup, untilAborted } from "../../src/blobs/pieces.ts";

async function* from(pieces: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* pieces;
}

describe("regroup", () => {
  test("keeps the bytes, whatever their pieces were, each piece good until its buffer's next turn", async () => {
    const pieces = fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 20 });
    const sizes = fc.integer({ min: 1, max: 17 });
    const turns = fc.integer({ min: 1, max: 4 });
    await fc.assert(
      fc.asyncProperty(pieces, sizes, turns, async (given, size, buffers) => {
        const [held, lengths, got]: [Uint8Array[], number[], Uint8Array[]] = [[], [], []];
        for await (const piece of regroup(from(given), size, buffers)) {
          lengths.push(piece.length);
          held.push(piece);
          if (held.length === buffers) got.push(Buffer.from(held.shift() ?? []));
        }
        got.push(...held);
        expect(Buffer.concat(got)).toEqual(Buffer.concat(given));
        expect(lengths.slice(0, -1).every((length) => length === size)).toBe(true);
        expect(lengths.every((length) => length > 0 && length <= size)).toBe(true);
      }),
    );
  });
});

describe("untilAborted", () => {
  /** A source that says whether it was told to end. */
  function watched() {
    const seen = { ended: false };
    async function* source() {
      try {
        for (;;) yield new Uint8Array(1);
      } finally {
        seen.ended = true;
      }
    }
    return { seen, source: source() };
  }

  test("ends its source when its reader ends", async () => {
    const { seen, source } = watched();
    for await (const _piece of untilAborted(source, new AbortController().signal)) break;
    expect(seen.ended).toBe(true);
  });

  test("ends its source when the signal aborts", async () => {
    const { seen, source } = watched();
    const stop = new AbortController();
    const reading = async () => {
      for await (const _piece of untilAborted(source, stop.signal)) stop.abort(new Error("enough"));
    };
    await expect(reading()).rejects.toThrow("enough");
    expect(seen.ended).toBe(true);
  });
});
