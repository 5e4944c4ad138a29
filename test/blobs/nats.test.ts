import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openNatsBlobs } from "../../src/blobs/nats.ts";
import { openNats } from "../../src/eventlog/nats.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";
import { until } from "../support/until.ts";
import { describeBlobStore, inPieces, namesIn, newName, readAll, someBytes } from "./contract.ts";

let backend: TestBackend;
beforeAll(async () => {
  backend = await openTestBackend();
});
afterAll(() => backend?.[Symbol.asyncDispose]());

/** A stream of the test's own, by a word. */
function optionsFor(word: string) {
  const { nats, prefix, logger: log } = backend;
  return { nats, stream: `BLOBS_${word}_${prefix}`, prefix: `${prefix}${word}`, replicas: 1, log };
}

describeBlobStore("nats", async () => {
  await using opening = new AsyncDisposableStack();
  const { natsUrl: url, logger: log } = backend;
  const nats = opening.use(await openNats({ url, name: "blobs", log }));
  const store = opening.use(await openNatsBlobs({ ...optionsFor("contract"), nats }));
  const owned = opening.move();
  return {
    store,
    down: () => nats.connection.close(),
    movedBytes: () => nats.connection.stats().inBytes,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
});

/** A source that stops after 3 MB until it is told to go on. */
function halting() {
  const goOn = Promise.withResolvers<void>();
  const halted = Promise.withResolvers<void>();
  async function* source() {
    yield someBytes(3_000_000);
    halted.resolve();
    await goOn.promise;
    yield someBytes(10);
  }
  return { source: source(), goOn: () => goOn.resolve(), halted: halted.promise };
}

const recordsIn = async (stream: string) => (await backend.nats.jsm.streams.info(stream)).state.messages;

describe("the stream of blobs", () => {
  test("holds nothing of blobs that are gone, or never were", async () => {
    const options = optionsFor("gone");
    const store = await openNatsBlobs(options);
    const name = newName();
    await store.put(name, inPieces(someBytes(1_200_000)));
    // Three segments and the last record.
    expect(await recordsIn(options.stream)).toBe(4);
    await store.remove(name);
    async function* failing() {
      yield someBytes(3_000_000);
      throw new Error("the caller went away");
    }
    await expect(store.put(newName(), failing())).rejects.toThrow("the caller went away");
    expect(await recordsIn(options.stream)).toBe(0);
  });

  test("gives a part without reading what is before it", async () => {
    const store = await openNatsBlobs(optionsFor("range"));
    const [name, size] = [newName(), 20_000_000];
    await store.put(name, inPieces(someBytes(size)));
    const { connection } = backend.nats;
    const before = connection.stats().inBytes;
    await readAll(store, name, { from: size - 10, to: size });
    expect(connection.stats().inBytes - before).toBeLessThan(1_200_000);
  });

  test("is listed in full, however long it is", async () => {
    const store = await openNatsBlobs(optionsFor("list"));
    const names = Array.from({ length: 600 }, (_, index) => `ws_a/art_${index}/b`);
    for (let at = 0; at < names.length; at += 50) {
      await Promise.all(names.slice(at, at + 50).map((name) => store.put(name, inPieces(someBytes(1)))));
    }
    expect((await namesIn(store)).toSorted()).toEqual(names.toSorted());
  });

  test("that is configured otherwise is refused, and named", async () => {
    const options = optionsFor("other");
    await openNatsBlobs(options);
    await expect(openNatsBlobs({ ...options, prefix: `${options.prefix}x` })).rejects.toMatchObject({
      reason: "STORE_UNAVAILABLE",
      message: expect.stringContaining(options.stream) as string,
    });
  });

  test("says what to do when it is gone", async () => {
    const options = optionsFor("deleted");
    const store = await openNatsBlobs(options);
    await backend.nats.jsm.streams.delete(options.stream);
    await expect(readAll(store, newName(), { from: 0, to: 1 })).rejects.toMatchObject({ reason: "STORE_UNAVAILABLE" });
  });

  test("that is full makes the store unavailable, with a way out, and keeps nothing of the blob", async () => {
    const options = optionsFor("full");
    const store = await openNatsBlobs(options);
    const { source, goOn, halted } = halting();
    const put = store.put(newName(), source);
    await halted;
    await until(async () => (await recordsIn(options.stream)) === 6, { what: "the beginning and five segments" });
    const { streams } = backend.nats.jsm;
    await streams.update(options.stream, { max_bytes: (await streams.info(options.stream)).state.bytes });
    goOn();
    await expect(put).rejects.toMatchObject({
      reason: "STORE_UNAVAILABLE",
      message: expect.stringContaining("is full; give JetStream more room") as string,
    });
    expect(await recordsIn(options.stream)).toBe(0);
    // An operator's limit is no other configuration.
    await openNatsBlobs(options);
  });
});

describe("a writer that was believed dead", () => {
  test("is left alone while it is young", async () => {
    const options = optionsFor("young");
    const store = await openNatsBlobs(options);
    const { source, goOn, halted } = halting();
    const name = newName();
    const put = store.put(name, source);
    await halted;
    await openNatsBlobs(options);
    goOn();
    await put;
    expect((await readAll(store, name, { from: 0, to: 3_000_010 })).length).toBe(3_000_010);
  });

  test("can not finish once its segments were cleared away", async () => {
    const options = optionsFor("dead");
    const store = await openNatsBlobs(options);
    const { source, goOn, halted } = halting();
    const name = newName();
    const put = store.put(name, source);
    await halted;
    await until(async () => (await recordsIn(options.stream)) >= 2, { what: "segments to be there" });
    await openNatsBlobs({ ...options, leftOverAgeMs: -60_000 });
    goOn();
    await expect(put).rejects.toMatchObject({ reason: "STORE_UNAVAILABLE" });
    expect(await namesIn(store)).toEqual([]);
    // What it sent after that is cleared away with it, or at the next opening.
    await openNatsBlobs({ ...options, leftOverAgeMs: -60_000 });
    expect(await recordsIn(options.stream)).toBe(0);
  });

  test("that died after its last record has stored its blob", async () => {
    const options = optionsFor("after");
    const store = await openNatsBlobs(options);
    const name = newName();
    await store.put(name, inPieces(someBytes(10)));
    await backend.nats.js.publish(`${options.prefix}.blob.begun.${name.replaceAll("/", ".")}`, "");
    await openNatsBlobs({ ...options, leftOverAgeMs: -60_000 });
    expect((await readAll(store, name, { from: 0, to: 10 })).equals(someBytes(10))).toBe(true);
    expect(await recordsIn(options.stream)).toBe(2);
  });
});
