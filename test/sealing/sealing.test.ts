import { randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { chunkBytes, sealedSize } from "../../src/sealing/format.ts";
import { openSealed } from "../../src/sealing/open-sealed.ts";
import { seal } from "../../src/sealing/seal.ts";
import { all, inPieces, open, sealAll, someBytes } from "./bytes.ts";

const sealKey = { key: randomBytes(32), context: "ws_dev/art_1/a" };
const sizes = [0, 1, 65_535, 65_536, 65_537, 131_071, 131_072, 200_000];

test.each(sizes)("opens %i bytes as they were, and says before how many bytes they take", async (size) => {
  const plain = someBytes(size);
  const sealed = await sealAll(sealKey, plain);
  expect(sealed.length).toBe(sealedSize(size));
  expect(await open(sealKey, sealed, size)).toEqual(plain);
});

test("does not care in which pieces bytes come and go", async () => {
  const piece = fc.integer({ min: 1, max: 100_000 });
  const size = fc.oneof(fc.constantFrom(...sizes), fc.integer({ min: 0, max: 200_000 }));
  await fc.assert(
    fc.asyncProperty(size, piece, piece, async (length, into, outOf) => {
      const plain = someBytes(length);
      const sealed = await all(seal(sealKey, inPieces(plain, Math.max(into, 200))));
      expect(sealed.length).toBe(sealedSize(length));
      const opened = await open(sealKey, sealed, length, { from: 0, to: length }, Math.max(outOf, 200));
      expect(opened.equals(plain)).toBe(true);
    }),
    { numRuns: 60 },
  );
});

test("opens every range of a small file", async () => {
  const plain = someBytes(40);
  const sealed = await sealAll(sealKey, plain);
  for (let from = 0; from <= 40; from++) {
    for (let to = from; to <= 40; to++) {
      expect((await open(sealKey, sealed, 40, { from, to }, 7)).equals(plain.subarray(from, to))).toBe(true);
    }
  }
});

test("opens any range of a large file, and reads the header and the chunks of the range only", async () => {
  const plain = someBytes(300_000);
  const sealed = await sealAll(sealKey, plain);
  const edge = fc.oneof(
    fc.integer({ min: 0, max: plain.length }),
    fc
      .tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: -1, max: 1 }))
      .map(([chunk, step]) => Math.max(0, chunk * chunkBytes + step)),
  );
  await fc.assert(
    fc.asyncProperty(edge, edge, async (a, b) => {
      const [from, to] = a < b ? [a, b] : [b, a];
      let readBytes = 0;
      const opened = await all(
        openSealed({ ...sealKey, sizeBytes: plain.length }, { from, to }, (range) => {
          readBytes += range.to - range.from;
          return inPieces(sealed.subarray(range.from, range.to), 30_000);
        }),
      );
      expect(opened.equals(plain.subarray(from, to))).toBe(true);
      expect(readBytes).toBeLessThanOrEqual(to - from + 2 * chunkBytes + 300);
    }),
    { numRuns: 200 },
  );
});

test("refuses ranges that are not within the bytes", async () => {
  const sealed = await sealAll(sealKey, someBytes(10));
  for (const range of [
    { from: -1, to: 3 },
    { from: 4, to: 3 },
    { from: 0, to: 11 },
    { from: Number.NaN, to: 3 },
  ]) {
    await expect(open(sealKey, sealed, 10, range)).rejects.toThrow(RangeError);
  }
});

test("gives every chunk and every tag in a piece of its own memory", async () => {
  const pieces = await Array.fromAsync(seal(sealKey, [someBytes(70_000)]));
  expect(pieces.map((piece) => piece.length)).toEqual([65, 65_536, 16, 70_000 - 65_536, 16]);
  const [, first] = pieces;
  expect(pieces.filter((piece) => piece.buffer === first?.buffer)).toHaveLength(1);
});

test("refuses a key of another length", async () => {
  await expect(sealAll({ key: randomBytes(16), context: "a" }, someBytes(1))).rejects.toThrow("has 32 bytes, not 16");
});

test("seals the same bytes differently every time", async () => {
  const plain = someBytes(70_000);
  const [once, twice] = [await sealAll(sealKey, plain), await sealAll(sealKey, plain)];
  expect(once.equals(twice)).toBe(false);
});

test("ends its source when its reader goes, or the source breaks", async () => {
  const sealed = await sealAll(sealKey, someBytes(200_000));
  let ended = 0;
  async function* source(from: number, to: number) {
    try {
      yield* inPieces(sealed.subarray(from, to), 1_000);
    } finally {
      ended++;
    }
  }
  const whole = { from: 0, to: 200_000 };
  for await (const piece of openSealed({ ...sealKey, sizeBytes: 200_000 }, whole, ({ from, to }) => source(from, to))) {
    expect(piece.length).toBeGreaterThan(0);
    break;
  }
  expect(ended).toBe(1);
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield sealed.subarray(0, 100);
    throw new Error("the disk is gone");
  }
  await expect(all(openSealed({ ...sealKey, sizeBytes: 200_000 }, whole, broken))).rejects.toThrow("the disk is gone");
  await expect(all(seal(sealKey, broken()))).rejects.toThrow("the disk is gone");
});

test("opens what was sealed when the format was written down", async () => {
  const sample = {
    key: Buffer.alloc(32, 7),
    context: "ws_dev/art_1/sample",
  };
  const sealed = Buffer.from(
    "AcaQKLVfkWFEh6AhAqT50D1rFniHRU8jO/xp9n4aANJjZPyH4HJiDAJ7oyU5n3XuyszKE0CISi3MMZgwedwAOtrOqWeLEnvIFIHplmsuyIxO/UJTQSgRs3W3/CGzjeUUWw==",
    "base64",
  );
  expect(String(await open(sample, sealed, 16))).toBe("sealed in amber.");
});
