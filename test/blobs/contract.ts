import { createHash, randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BlobMissingError, type BlobStore, type ByteRange } from "../../src/blobs/blob-store.ts";
import { until } from "../support/until.ts";

/** A store under test, on a place of its own. */
export interface TestStore extends AsyncDisposable {
  readonly store: BlobStore;
  /** Takes away what the store stands on. Comes last. */
  down?(): Promise<void>;
  /** Files, answers and the like that reads hold open now. */
  heldOpen?(): Promise<number>;
  /** How many bytes reads have caused to be moved so far. */
  movedBytes?(): number;
}

const mebibyte = 1024 * 1024;
let names = 0;

/** A name that no other test uses. */
export function newName(): string {
  return `ws_test/art_${++names}/${randomUUID()}`;
}

/** Bytes that are the same for the same length, and nowhere alike. */
export function someBytes(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0, seed = length >>> 0; at < length; at++) {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[at] = seed >>> 24;
  }
  return bytes;
}

/** The bytes in pieces, the last one shorter. */
export async function* inPieces(bytes: Uint8Array, pieceBytes = 64 * 1024): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

/** All of a part of a blob. */
export async function readAll(store: BlobStore, name: string, range: ByteRange): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of store.read(name, range)) pieces.push(Uint8Array.from(piece));
  return Buffer.concat(pieces);
}

/** The names of everything that is there. */
export async function namesIn(store: BlobStore): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of store.list()) found.push(name);
  return found;
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** What every store does, checked against the one that `open` opens. */
export function describeBlobStore(kind: BlobStore["kind"], open: () => Promise<TestStore>): void {
  describe(`the ${kind} store`, () => {
    let opened: TestStore;
    let store: BlobStore;
    beforeAll(async () => {
      opened = await open();
      store = opened.store;
    });
    afterAll(() => opened?.[Symbol.asyncDispose]());

    async function putNew(bytes: Uint8Array, pieceBytes?: number): Promise<string> {
      const name = newName();
      await store.put(name, inPieces(bytes, pieceBytes));
      return name;
    }

    async function expectNothing(name: string): Promise<void> {
      await expect(readAll(store, name, { from: 0, to: 1 })).rejects.toThrow(BlobMissingError);
      await expect(readAll(store, name, { from: 0, to: 0 })).rejects.toThrow(BlobMissingError);
      expect(await namesIn(store)).not.toContain(name);
    }

    test("says what it is", () => {
      expect(store.kind).toBe(kind);
    });

    test.each([0, 1, 65_536, 524_288, mebibyte, 5 * mebibyte, 12 * mebibyte + 7])(
      "gives back %i bytes",
      async (size) => {
        const bytes = someBytes(size);
        const name = await putNew(bytes, 100_000);
        const read = await readAll(store, name, { from: 0, to: size });
        expect(read.length).toBe(size);
        expect(sha256(read)).toBe(sha256(bytes));
      },
    );

    test("looks at no piece again once it has asked for the next one", async () => {
      const bytes = someBytes(12 * mebibyte + 7);
      async function* overAndOver() {
        const buffer = new Uint8Array(100_000);
        for await (const piece of inPieces(bytes, buffer.length)) {
          buffer.set(piece);
          yield buffer.subarray(0, piece.length);
          buffer.fill(0);
        }
      }
      const name = newName();
      await store.put(name, overAndOver());
      expect(sha256(await readAll(store, name, { from: 0, to: bytes.length }))).toBe(sha256(bytes));
    });

    test("gives back any part", async () => {
      const bytes = someBytes(6 * mebibyte + 3);
      const name = await putNew(bytes);
      const borders = [64 * 1024, 512 * 1024, mebibyte, 5 * mebibyte];
      const ranges = [
        ...borders.flatMap((border) => [
          { from: border - 1, to: border + 1 },
          { from: border, to: border + 1 },
          { from: border - 1, to: border },
          { from: 1, to: border },
        ]),
        { from: 0, to: 1 },
        { from: 400_000, to: 1_700_000 },
        { from: bytes.length - 1, to: bytes.length },
        { from: 5, to: 5 },
        { from: bytes.length, to: bytes.length },
      ];
      for (const range of ranges) {
        const read = await readAll(store, name, range);
        expect({ range, sha256: sha256(read) }).toEqual({
          range,
          sha256: sha256(bytes.subarray(range.from, range.to)),
        });
      }
    });

    test("says that a blob is missing, or ends before the range does", async () => {
      await expectNothing(newName());
      await expectNothing("ws_test");
      const name = await putNew(someBytes(10));
      for (const range of [
        { from: 0, to: 11 },
        { from: 10, to: 11 },
        { from: 20, to: 30 },
        { from: 11, to: 11 },
      ]) {
        await expect(readAll(store, name, range)).rejects.toThrow(BlobMissingError);
      }
    });

    test.each([0, 3, 6])(
      "leaves nothing of a source that fails after %i MiB, and says what the source said",
      async (size) => {
        const name = newName();
        const failure = new Error("the caller went away");
        async function* failing() {
          yield* inPieces(someBytes(size * mebibyte));
          throw failure;
        }
        await expect(store.put(name, failing())).rejects.toBe(failure);
        await expectNothing(name);
      },
    );

    test.each([0, 6])(
      "stops a put when its signal aborts, also after %i MiB of a source that is silent",
      async (size) => {
        const name = newName();
        const stop = new AbortController();
        let waits = false;
        async function* silent() {
          yield* inPieces(someBytes(size * mebibyte));
          waits = true;
          await new Promise(() => {});
        }
        const put = store.put(name, silent(), stop.signal);
        await until(() => waits, { what: "the source to be silent" });
        const reason = new Error("enough");
        stop.abort(reason);
        await expect(put).rejects.toBe(reason);
        await expectNothing(name);
      },
    );

    test("does not begin what is aborted already", async () => {
      const name = newName();
      const signal = AbortSignal.abort(new Error("too late"));
      await expect(store.put(name, inPieces(someBytes(1)), signal)).rejects.toThrow("too late");
      await expectNothing(name);
    });

    test("stops a read when its signal aborts", async () => {
      const size = 6 * mebibyte;
      const name = await putNew(someBytes(size));
      const stop = new AbortController();
      const reading = async () => {
        for await (const _piece of store.read(name, { from: 0, to: size }, stop.signal))
          stop.abort(new Error("enough"));
      };
      await expect(reading()).rejects.toThrow("enough");
    });

    test("takes what comes at the same time", async () => {
      const sizes = Array.from({ length: 12 }, (_, index) => index * 130_000);
      const put = await Promise.all(sizes.map(async (size) => ({ size, name: await putNew(someBytes(size)) })));
      const read = await Promise.all(put.map(({ name, size }) => readAll(store, name, { from: 0, to: size })));
      for (const [index, { size }] of put.entries()) expect(read[index]?.equals(someBytes(size))).toBe(true);
    });

    test("removes a blob, and again", async () => {
      const name = await putNew(someBytes(2 * mebibyte));
      await store.remove(name);
      await expectNothing(name);
      await expect(store.remove(name)).resolves.toBeUndefined();
      await expect(store.remove(newName())).resolves.toBeUndefined();
    });

    test("lists what is there, with its size and time", async () => {
      const before = Date.now();
      const sizes = [0, 1, 700_000];
      const put = await Promise.all(sizes.map(async (size) => ({ size, name: await putNew(someBytes(size)) })));
      const listed = new Map<string, { sizeBytes: number; storeTime: Date }>();
      for await (const blob of store.list()) {
        expect(listed.has(blob.name)).toBe(false);
        listed.set(blob.name, blob);
      }
      for (const { name, size } of put) {
        const { sizeBytes, storeTime } = listed.get(name) ?? {};
        expect(sizeBytes).toBe(size);
        // Whole seconds in some stores, and a clock of their own in all.
        expect(Math.abs((storeTime?.getTime() ?? 0) - before)).toBeLessThan(60_000);
      }
    });

    test("ends a listing with its reader, or its signal", async () => {
      await putNew(someBytes(1));
      await putNew(someBytes(1));
      let seen = 0;
      for await (const _blob of store.list()) {
        seen++;
        break;
      }
      expect(seen).toBe(1);
      const listing = async () => {
        for await (const _blob of store.list(AbortSignal.abort(new Error("enough")))) seen++;
      };
      await expect(listing()).rejects.toThrow("enough");
    });

    test("holds nothing open for a reader that went away", async () => {
      const size = 8 * mebibyte;
      const name = await putNew(someBytes(size));
      for (let reader = 0; reader < 8; reader++) {
        for await (const piece of store.read(name, { from: 0, to: size })) {
          expect(piece.length).toBeGreaterThan(0);
          break;
        }
      }
      await until(async () => ((await opened.heldOpen?.()) ?? 0) === 0, { what: "the readers' resources to be freed" });
      expect((await readAll(store, name, { from: size - 1, to: size })).length).toBe(1);
    });

    test("reads no further ahead than a slow reader", async () => {
      const size = 32 * mebibyte;
      const name = await putNew(someBytes(size), mebibyte);
      const moved = () => opened.movedBytes?.() ?? 0;
      const before = moved();
      const pieces = store.read(name, { from: 0, to: size });
      const reader = pieces[Symbol.asyncIterator]();
      const { value } = (await reader.next()) as IteratorYieldResult<Uint8Array>;
      expect(value.length).toBeLessThanOrEqual(mebibyte);
      let last = -1;
      await until(() => last === (last = moved()), { what: "the store to stop sending", intervalMs: 100 });
      expect(moved() - before).toBeLessThan(size / 2);
      await reader.return?.();
    });

    test.each([
      "",
      "..",
      "../x",
      "a/../../b",
      "/etc/passwd",
      "a//b",
      "a/",
      "a.b",
      "a\\b",
      "a\0b",
      "a b",
      "ä",
      "*",
      "x".repeat(101),
    ])("refuses the name %j", async (name) => {
      await expect(store.put(name, inPieces(someBytes(1)))).rejects.toThrow(TypeError);
      await expect(readAll(store, name, { from: 0, to: 1 })).rejects.toThrow(TypeError);
      await expect(store.remove(name)).rejects.toThrow(TypeError);
    });

    test.each([
      { from: -1, to: 1 },
      { from: 2, to: 1 },
      { from: 0.5, to: 1 },
      { from: 0, to: Number.NaN },
    ])("refuses the range %j", async (range) => {
      await expect(readAll(store, newName(), range)).rejects.toThrow(RangeError);
    });

    test("is unavailable when what it stands on is gone, and says what to do", async () => {
      if (opened.down === undefined) return;
      const name = await putNew(someBytes(10));
      await opened.down();
      const unavailable = {
        reason: "STORE_UNAVAILABLE",
        message: expect.stringMatching(/artifact store.+(;|repeat|\?)/) as string,
      };
      await expect(store.put(newName(), inPieces(someBytes(10)))).rejects.toMatchObject(unavailable);
      await expect(readAll(store, name, { from: 0, to: 10 })).rejects.toMatchObject(unavailable);
      await expect(store.remove(name)).rejects.toMatchObject(unavailable);
      await expect(namesIn(store)).rejects.toMatchObject(unavailable);
    });
  });
}
