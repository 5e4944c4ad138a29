import { describe, expect, it } from "vitest";
import { createMemorySessionStore } from "../../src/artifacts/memory-session-store.ts";
import { openSessionStore, type SessionStore } from "../../src/artifacts/session-store.ts";
import { openTestBackend } from "../support/backend.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (value: Uint8Array | undefined): string | undefined => value && new TextDecoder().decode(value);

interface Opened extends AsyncDisposable {
  /** As two servers have it. */
  readonly stores: readonly [SessionStore, SessionStore];
}

const kinds: Record<string, () => Promise<Opened>> = {
  memory: async () => {
    const store = createMemorySessionStore();
    return { stores: [store, store], [Symbol.asyncDispose]: async () => {} };
  },
  nats: async () => {
    const backend = await openTestBackend();
    const open = () => openSessionStore({ nats: backend.nats, bucket: `UPLOADS_${backend.prefix}`, replicas: 1 });
    return { stores: [await open(), await open()], [Symbol.asyncDispose]: () => backend[Symbol.asyncDispose]() };
  },
};

describe.each(Object.keys(kinds))("a session store in %s", (kind) => {
  async function opened(): Promise<Opened> {
    const open = kinds[kind];
    if (open === undefined) throw new Error(`no store ${kind}`);
    return open();
  }

  it("keeps what was written first, for every server", async () => {
    await using open = await opened();
    const [here, there] = open.stores;
    expect(await here.create("part.ws.art.0", bytes("first"))).toBe(true);
    expect(await there.create("part.ws.art.0", bytes("second"))).toBe(false);
    expect(text((await there.get("part.ws.art.0"))?.value)).toBe("first");
  });

  it("lets one of many writers win", async () => {
    await using open = await opened();
    const [here, there] = open.stores;
    const writers = Array.from({ length: 20 }, (_, i) => (i % 2 ? here : there).create("key", bytes(String(i))));
    const won = await Promise.all(writers);
    expect(won.filter(Boolean)).toHaveLength(1);
    expect(text((await open.stores[0].get("key"))?.value)).toBe(String(won.indexOf(true)));
  });

  it("replaces the revision that was read, and no other", async () => {
    await using open = await opened();
    const [here, there] = open.stores;
    await here.create("key", bytes("one"));
    const read = await there.get("key");
    expect(await here.replace("key", bytes("two"), read?.revision ?? 0)).toBe(true);
    expect(await there.replace("key", bytes("three"), read?.revision ?? 0)).toBe(false);
    expect(text((await there.get("key"))?.value)).toBe("two");
  });

  it("has nothing where nothing was written, or where it was removed", async () => {
    await using open = await opened();
    const [here, there] = open.stores;
    expect(await here.get("key")).toBeUndefined();
    await here.remove("key");
    await here.create("key", bytes("one"));
    await there.remove("key");
    expect(await here.get("key")).toBeUndefined();
    expect(await here.create("key", bytes("two"))).toBe(true);
    expect(text((await there.get("key"))?.value)).toBe("two");
  });

  it("lists the keys below a prefix that have a value", async () => {
    await using open = await opened();
    const [here, there] = open.stores;
    const listed = async () => (await there.keys("open.ws_a")).toSorted();
    expect(await listed()).toEqual([]);
    for (const key of ["open.ws_a.1.10", "open.ws_a.2.20", "open.ws_ab.1.10", "part.ws_a.1"]) {
      await here.create(key, bytes(""));
    }
    expect(await listed()).toEqual(["open.ws_a.1.10", "open.ws_a.2.20"]);
    await here.remove("open.ws_a.1.10");
    expect(await listed()).toEqual(["open.ws_a.2.20"]);
    await here.remove("open.ws_a.2.20");
    expect(await listed()).toEqual([]);
  });

  it("removes the revision that was named, and no newer one", async () => {
    await using open = await opened();
    const [here, there] = open.stores;
    await here.create("key", bytes("one"));
    const read = await there.get("key");
    await here.replace("key", bytes("two"), read?.revision ?? 0);
    await there.remove("key", read?.revision);
    expect(text((await there.get("key"))?.value)).toBe("two");
    await there.remove("key", (await there.get("key"))?.revision);
    expect(await here.get("key")).toBeUndefined();
  });
});
