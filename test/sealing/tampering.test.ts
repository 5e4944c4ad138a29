import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { sealedSize } from "../../src/sealing/format.ts";
import { openSealed } from "../../src/sealing/open-sealed.ts";
import { SealBrokenError } from "../../src/sealing/seal-broken-error.ts";
import { all, chunkBounds, inPieces, open, openAsLongAs, sealAll, someBytes } from "./bytes.ts";

const sealKey = { key: randomBytes(32), context: "ws_dev/art_1/a" };
const size = 300;
const plain = someBytes(size);

test("detects every flipped bit of a small sealed file", async () => {
  const sealed = await sealAll(sealKey, plain);
  for (let at = 0; at < sealed.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const flipped = Buffer.from(sealed);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << bit);
      await expect(open(sealKey, flipped, size), `byte ${at}, bit ${bit}`).rejects.toThrow(SealBrokenError);
    }
  }
});

test("detects a flipped byte anywhere in a range of one byte, and gives nothing of its chunk", async () => {
  const large = someBytes(140_000);
  const sealed = await sealAll(sealKey, large);
  const bounds = chunkBounds(large.length);
  for (const [chunk, begin] of bounds.slice(0, -1).entries()) {
    for (const at of [0, 64, begin, begin + 1_000, (bounds[chunk + 1] ?? 0) - 1]) {
      const flipped = Buffer.from(sealed);
      flipped[at] = (flipped[at] ?? 0) ^ 1;
      const from = chunk * 65_536 + 5;
      const pieces: Uint8Array[] = [];
      const reading = (async () => {
        const range = { from, to: from + 1 };
        const opening = openSealed({ ...sealKey, sizeBytes: large.length }, range, (part) =>
          inPieces(flipped.subarray(part.from, part.to), 9_000),
        );
        for await (const piece of opening) pieces.push(piece);
      })();
      await expect(reading, `chunk ${chunk}, byte ${at}`).rejects.toThrow(SealBrokenError);
      expect(pieces).toEqual([]);
    }
  }
});

test("detects a file that is cut at any length, also by who trusts the length of the file", async () => {
  const sealed = await sealAll(sealKey, plain);
  for (let length = 0; length < sealed.length; length++) {
    await expect(open(sealKey, sealed.subarray(0, length), size), `cut to ${length}`).rejects.toThrow(SealBrokenError);
    await expect(openAsLongAs(sealKey, sealed.subarray(0, length)), `cut to ${length}`).rejects.toThrow(
      SealBrokenError,
    );
  }
});

test.each([65_536, 131_072, 140_000])("detects %i bytes that are cut between chunks", async (length) => {
  const sealed = await sealAll(sealKey, someBytes(length));
  for (const bound of chunkBounds(length).slice(0, -1)) {
    for (const cut of [bound - 16, bound - 1, bound, bound + 1, bound + 15, bound + 16]) {
      if (cut >= sealed.length) continue;
      await expect(openAsLongAs(sealKey, sealed.subarray(0, cut)), `cut to ${cut}`).rejects.toThrow(SealBrokenError);
    }
  }
});

test("detects appended bytes, whether the length of the file is trusted or the source gives more than was asked for", async () => {
  const sealed = await sealAll(sealKey, plain);
  for (const more of [1, 15, 16, 17, 1_000, 70_000]) {
    const longer = Buffer.concat([sealed, someBytes(more)]);
    await expect(openAsLongAs(sealKey, longer), `${more} more`).rejects.toThrow(SealBrokenError);
    const whole = openSealed({ ...sealKey, sizeBytes: size }, { from: 0, to: size }, () => inPieces(longer, 100));
    await expect(all(whole)).rejects.toThrow("there are bytes behind the end");
  }
});

test("detects a size that is not the one that was sealed", async () => {
  for (const length of [0, 300, 65_535, 65_536, 131_072]) {
    const sealed = await sealAll(sealKey, someBytes(length));
    for (const claimed of [0, 1, 299, 301, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073]) {
      if (claimed === length) continue;
      await expect(open(sealKey, sealed, claimed), `${length} as ${claimed}`).rejects.toThrow(SealBrokenError);
    }
  }
});

test("detects chunks that change places, are left out, stand twice, or come from another file", async () => {
  const length = 3 * 65_536 + 100;
  const sealed = await sealAll(sealKey, someBytes(length));
  const other = await sealAll(sealKey, someBytes(length));
  const [header, ...chunks] = partsOf(sealed, length);
  const [a, b, c, d] = chunks;
  const foreign = partsOf(other, length);
  for (const parts of [
    [header, b, a, c, d],
    [header, a, c, b, d],
    [header, a, b, d],
    [header, a, a, b, c, d],
    [header, a, b, c, c],
    [header, a, foreign[2], c, d],
    [foreign[0], a, b, c, d],
  ]) {
    const mixed = Buffer.concat(parts.filter((part) => part !== undefined));
    await expect(open(sealKey, mixed, length)).rejects.toThrow(SealBrokenError);
    await expect(openAsLongAs(sealKey, mixed)).rejects.toThrow(SealBrokenError);
  }
});

test("opens nothing under another key, or as another artifact's bytes", async () => {
  const sealed = await sealAll(sealKey, plain);
  const otherKey = { ...sealKey, key: randomBytes(32) };
  await expect(open(otherKey, sealed, size)).rejects.toThrow("sealed with another key");
  for (const context of ["ws_dev/art_2/a", "ws_dev/art_1/b", "ws_dev2/art_1/a", "", `${sealKey.context}\0`]) {
    await expect(open({ ...sealKey, context }, sealed, size)).rejects.toThrow(SealBrokenError);
  }
});

test("detects the same things in an empty file", async () => {
  const sealed = await sealAll(sealKey, new Uint8Array());
  expect(sealed.length).toBe(sealedSize(0));
  for (let at = 0; at < sealed.length; at++) {
    const flipped = Buffer.from(sealed);
    flipped[at] = (flipped[at] ?? 0) ^ 0x80;
    await expect(open(sealKey, flipped, 0)).rejects.toThrow(SealBrokenError);
    await expect(open(sealKey, sealed.subarray(0, at), 0)).rejects.toThrow(SealBrokenError);
  }
});

function partsOf(sealed: Buffer, length: number): Buffer[] {
  const bounds = [0, ...chunkBounds(length)];
  return bounds.slice(1).map((bound, index) => sealed.subarray(bounds[index], bound));
}
