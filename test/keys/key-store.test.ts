import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openJetStreamKeyStore } from "../../src/keys/jetstream-key-store.ts";
import type { KeyEntry, KeyStore } from "../../src/keys/key-store.ts";
import { createMemoryKeyStore } from "../../src/keys/memory-key-store.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";

const bytes = (text: string) => Buffer.from(text);
const text = (entry: KeyEntry | undefined) => (entry === undefined ? undefined : Buffer.from(entry.value).toString());

/** What every store of keys must do. Every test has names of its own. */
function testKeyStore(open: () => KeyStore): void {
  let names = 0;
  const newName = () => `data.ws_${++names}.art_1`;

  test("keeps a record under a name, and the first of many simultaneous ones only", async () => {
    const store = open();
    const name = newName();
    expect(await store.get(name)).toBeUndefined();
    const tried = await Promise.all(Array.from({ length: 10 }, (_, index) => store.create(name, bytes(`${index}`))));
    const [winner, ...more] = tried.filter((entry) => entry !== undefined);
    expect(more).toEqual([]);
    expect(await store.get(name)).toMatchObject({ name, revision: winner?.revision });
    expect(text(await store.get(name))).toBe(text(winner));
  });

  test("replaces the very revision that was read, and no other", async () => {
    const store = open();
    const name = newName();
    const first = await store.create(name, bytes("a"));
    const revision = first?.revision ?? 0;
    const tried = await Promise.all(["b", "c", "d"].map((value) => store.update(name, bytes(value), revision)));
    expect(tried.filter((entry) => entry !== undefined)).toHaveLength(1);
    expect(await store.update(name, bytes("e"), revision)).toBeUndefined();
    const [second] = tried.filter((entry) => entry !== undefined);
    expect(second?.revision).toBeGreaterThan(revision);
    expect(text(await store.get(name))).toBe(text(second));
    expect(await store.update(newName(), bytes("f"), revision)).toBeUndefined();
  });

  test("removes a record, twice if need be, so that nothing can follow on it and another may take its name", async () => {
    const store = open();
    const name = newName();
    const entry = await store.create(name, bytes("a"));
    await store.remove(name);
    await store.remove(name);
    expect(await store.get(name)).toBeUndefined();
    expect(await store.update(name, bytes("b"), entry?.revision ?? 0)).toBeUndefined();
    expect(text(await store.create(name, bytes("c")))).toBe("c");
  });

  test("lists the records below a name, oldest write first, and what is written meanwhile", async () => {
    const store = open();
    const workspace = newName().split(".").slice(0, 2).join(".");
    const first = await store.create(`${workspace}.art_1`, bytes("1"));
    await store.create(`${workspace}.art_2`, bytes("2"));
    await store.create(`${workspace}.art_3`, bytes("3"));
    await store.create(`${workspace}2.art_9`, bytes("9"));
    await store.update(`${workspace}.art_1`, bytes("1b"), first?.revision ?? 0);
    const found: string[] = [];
    for await (const entry of store.entries(workspace)) {
      found.push(text(entry) ?? "");
      if (found.length === 1) await store.create(`${workspace}.art_4`, bytes("4"));
      if (found.length === 2) await store.remove(`${workspace}.art_1`);
    }
    expect(found).toEqual(["2", "3", "4"]);
  });

  test("stops a listing when it is told to", async () => {
    const store = open();
    const listing = store.entries("data", AbortSignal.abort(new Error("enough")));
    await expect(Array.fromAsync(listing)).rejects.toThrow("enough");
  });
}

describe("the store in memory", () => {
  testKeyStore(createMemoryKeyStore);
});

describe("the store in JetStream", () => {
  let backend: TestBackend;
  let store: KeyStore;
  const open = ({ nats, prefix }: TestBackend) =>
    openJetStreamKeyStore({ nats, prefix, stream: `KEYS_${prefix}`, replicas: 1 });

  beforeAll(async () => {
    backend = await openTestBackend();
    store = await open(backend);
  });
  afterAll(() => backend[Symbol.asyncDispose]());

  testKeyStore(() => store);

  /** Every version that the stream still has. */
  async function versions(name: string): Promise<number> {
    const filter = `${backend.prefix}.keys.${name}`;
    const { state } = await backend.nats.jsm.streams.info(`KEYS_${backend.prefix}`, { subjects_filter: filter });
    return state.subjects?.[filter] ?? 0;
  }

  test("opens a stream that is there, and refuses one that forgets by itself", async () => {
    await expect(open(backend)).resolves.toBeDefined();
    const { nats, prefix } = backend;
    await nats.jsm.streams.add({ name: `OTHER_${prefix}`, subjects: [`o${prefix}.keys.>`], max_age: 1_000_000_000 });
    const other = openJetStreamKeyStore({ nats, prefix: `o${prefix}`, stream: `OTHER_${prefix}`, replicas: 1 });
    await expect(other).rejects.toThrow("max_age is 1000000000, needed 0");
  });

  test("keeps one version of a record, and none of one that is removed", async () => {
    const name = "data.ws_versions.art_1";
    let entry = await store.create(name, bytes("0"));
    for (let index = 1; index <= 5; index++) entry = await store.update(name, bytes(`${index}`), entry?.revision ?? 0);
    expect(await versions(name)).toBe(1);
    await store.remove(name);
    expect(await versions(name)).toBe(0);
  });

  test("erases at the next write, or when it is removed, what a crash between writing and erasing has left", async () => {
    const { jsm } = backend.nats;
    const streams = Object.create(jsm.streams, {
      deleteMessage: { value: () => Promise.reject(new Error("crash")) },
    }) as typeof jsm.streams;
    const crashingJsm = Object.create(jsm, { streams: { value: streams } }) as typeof jsm;
    const crashing = await open({ ...backend, nats: { ...backend.nats, jsm: crashingJsm } });
    const name = "data.ws_crash.art_1";
    const first = await store.create(name, bytes("0"));
    await expect(crashing.update(name, bytes("1"), first?.revision ?? 0)).rejects.toThrow("did not answer");
    const second = await store.get(name);
    expect(text(second)).toBe("1");
    expect(await versions(name)).toBe(2);
    const third = await store.update(name, bytes("2"), second?.revision ?? 0);
    expect(await versions(name)).toBe(1);
    await expect(crashing.update(name, bytes("3"), third?.revision ?? 0)).rejects.toThrow("did not answer");
    await store.remove(name);
    expect(await versions(name)).toBe(0);
  });

  test("refuses names that are no tokens", async () => {
    await expect(async () => store.get("data.ws_*.art")).rejects.toThrow("not a subject token");
  });
});
