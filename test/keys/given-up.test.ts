import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openJetStreamKeyStore } from "../../src/keys/jetstream-key-store.ts";
import type { KeyStore } from "../../src/keys/key-store.ts";
import { createKeys } from "../../src/keys/keys.ts";
import { createMemoryKeyStore } from "../../src/keys/memory-key-store.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";
import { createKeyWorld, hex } from "./world.ts";

const hourMs = 60 * 60_000;
let backend: TestBackend;
beforeAll(async () => {
  backend = await openTestBackend();
});
afterAll(() => backend?.[Symbol.asyncDispose]());

const stores: Record<string, () => Promise<KeyStore>> = {
  "in memory": async () => createMemoryKeyStore(),
  "in JetStream": () => {
    const { nats, prefix } = backend;
    return openJetStreamKeyStore({ nats, stream: `KEYS_${prefix}`, prefix, replicas: 1 });
  },
};

describe.each(Object.entries(stores))("the key of an upload that was given up, %s", (_, open) => {
  async function openWorld() {
    const store = await open();
    const { rootKey, journal } = createKeyWorld(store);
    let nowMs = Date.parse("2026-11-21T08:00:00Z");
    const clock = { now: () => new Date(nowMs) };
    let count = 0;
    const ids = { next: (prefix: string) => `${prefix}_${++count}`, uuid: () => "" };
    const { ring } = createKeys({ store, journal, rootKeys: { current: rootKey, old: [] }, clock, ids });
    return { store, ring, pass: (ms: number) => void (nowMs += ms), listed: async () => (await listOf(ring))[0] };
  }
  const listOf = async (ring: ReturnType<typeof createKeys>["ring"]) =>
    (await Array.fromAsync(ring.list())).filter(({ artifactId }) => artifactId === "art_given_up");

  test("stays with whoever takes it up again, and goes when nobody does", async () => {
    const { ring, store, pass, listed } = await openWorld();
    const workspaceId = "ws_given_up";
    const first = await ring.issue(workspaceId, "art_given_up");
    pass(26 * hourMs);
    const before = await listed();
    const again = await ring.issue(workspaceId, "art_given_up");
    expect(hex(again.key)).toBe(hex(first.key));
    await ring.destroy(workspaceId, "art_given_up", before?.createTime);
    expect(await ring.open(workspaceId, "art_given_up")).toMatchObject({ state: "open" });
    const after = await listed();
    expect(after?.createTime.getTime()).toBe((before?.createTime.getTime() ?? 0) + 26 * hourMs);
    await ring.destroy(workspaceId, "art_given_up", after?.createTime);
    expect(await ring.open(workspaceId, "art_given_up")).toEqual({ state: "destroyed" });
    expect(await store.get(`data.${workspaceId}.art_given_up`)).toBeUndefined();
  });

  test("is not removed once its record was written again", async () => {
    const { store } = await openWorld();
    const name = "data.ws_given_up.art_2";
    const first = await store.create(name, Buffer.from("first"));
    const second = await store.update(name, Buffer.from("second"), first?.revision ?? 0);
    await store.remove(name, first?.revision);
    expect((await store.get(name))?.revision).toBe(second?.revision);
    await store.remove(name, second?.revision);
    expect(await store.get(name)).toBeUndefined();
  });
});
