import { randomBytes } from "node:crypto";
import { Decrypter, generateX25519Identity, identityToRecipient } from "age-encryption";
import { expect, test } from "vitest";
import { createMemoryKeyStore } from "../../src/keys/memory-key-store.ts";
import { dataFormat, names } from "../../src/keys/records.ts";
import { createRootKey } from "../../src/keys/root-key.ts";
import { createKeyWorld, hex, openedKey, order } from "./world.ts";

test("gives an artifact one key, whoever asks and however often", async () => {
  const world = createKeyWorld();
  const issued = await Promise.all(Array.from({ length: 12 }, () => world.server().ring.issue("ws_a", "art_1")));
  expect(new Set(issued.map(({ key }) => hex(key))).size).toBe(1);
  expect(new Set(issued.map(({ keyId }) => keyId)).size).toBe(1);
  expect(issued[0]?.key).toHaveLength(32);
  expect(await openedKey(world.server(), "ws_a", "art_1")).toBe(hex(issued[0]?.key ?? new Uint8Array()));
});

test("gives each artifact a key of its own, under the one first key of the workspace, which is on record", async () => {
  const world = createKeyWorld();
  const issued = await Promise.all(
    Array.from({ length: 8 }, (_, index) => world.server().ring.issue("ws_a", `art_${index}`)),
  );
  expect(new Set(issued.map(({ key }) => hex(key))).size).toBe(8);
  const [keyId, ...others] = new Set(issued.map((key) => key.keyId));
  expect(others).toEqual([]);
  expect(world.journal.lines).toEqual([`ws_a rotated ${keyId}`]);
});

test("keeps workspaces apart", async () => {
  const world = createKeyWorld();
  const { ring } = world.server();
  const a = await ring.issue("ws_a", "art_1");
  const b = await ring.issue("ws_b", "art_1");
  expect(hex(a.key)).not.toBe(hex(b.key));
  expect(a.keyId).not.toBe(b.keyId);
});

test("tells a key that was destroyed from one that is not there", async () => {
  const world = createKeyWorld();
  const { ring } = world.server();
  const other = await ring.issue("ws_a", "art_2");
  await ring.issue("ws_a", "art_1");
  expect(await ring.open("ws_a", "art_3")).toEqual({ state: "missing" });
  expect(await ring.open("ws_new", "art_1")).toEqual({ state: "missing" });
  await ring.destroy("ws_a", "art_1");
  await ring.destroy("ws_a", "art_1");
  expect(await ring.open("ws_a", "art_1")).toEqual({ state: "destroyed" });
  expect(await world.server().ring.open("ws_a", "art_1")).toEqual({ state: "destroyed" });
  expect(await openedKey(world.server(), "ws_a", "art_2")).toBe(hex(other.key));
  const listed = await Array.fromAsync(ring.list());
  expect(listed).toEqual([{ workspaceId: "ws_a", artifactId: "art_2", createTime: new Date("2026-11-21T08:00:00Z") }]);
});

test("a server that has opened a key does not open it once another server has destroyed it, or its workspace's", async () => {
  const world = createKeyWorld();
  const [here, there] = [world.server(), world.server()];
  await here.ring.issue("ws_a", "art_1");
  await here.ring.issue("ws_a", "art_2");
  await openedKey(here, "ws_a", "art_1");
  await there.ring.destroy("ws_a", "art_1");
  expect(await here.ring.open("ws_a", "art_1")).toEqual({ state: "destroyed" });
  await openedKey(here, "ws_a", "art_2");
  await there.care.destroyWorkspace("ws_a", order);
  expect(await here.ring.open("ws_a", "art_2")).toEqual({ state: "destroyed" });
});

test("takes a key whose workspace key is gone without a trace for missing", async () => {
  const world = createKeyWorld();
  await world.server().ring.issue("ws_a", "art_1");
  await world.store.remove(names.workspace("ws_a"));
  expect(await world.server().ring.open("ws_a", "art_1")).toEqual({ state: "missing" });
});

test("wraps to a recipient who alone can open the key once it is sealed", async () => {
  const identity = await generateX25519Identity();
  const recipient = await identityToRecipient(identity);
  const world = createKeyWorld();
  const { ring } = world.server();
  const issued = await ring.issue("ws_a", "art_1", recipient);
  expect(hex((await ring.issue("ws_a", "art_1", recipient)).key)).toBe(hex(issued.key));
  expect(await openedKey(world.server(), "ws_a", "art_1")).toBe(hex(issued.key));
  await ring.seal("ws_a", "art_1");
  await ring.seal("ws_a", "art_1");
  const found = await ring.open("ws_a", "art_1");
  expect(found).toMatchObject({ state: "sealed", recipient });
  const decrypter = new Decrypter();
  decrypter.addIdentity(identity);
  const wrappedKey = found.state === "sealed" ? found.wrappedKey : new Uint8Array();
  expect(hex(await decrypter.decrypt(wrappedKey))).toBe(hex(issued.key));
  const stored = await world.store.get(names.data("ws_a", "art_1"));
  expect(dataFormat.decode(stored?.value ?? new Uint8Array()).key).toBeUndefined();
  await expect(ring.issue("ws_a", "art_1", recipient)).rejects.toMatchObject({ reason: "INVALID_STATE" });
  await world.server().care.destroyWorkspace("ws_a", order);
  expect(await ring.open("ws_a", "art_1")).toEqual({ state: "destroyed" });
});

test("refuses what is no recipient, another recipient, and to seal what has none", async () => {
  const [one, two] = await Promise.all([1, 2].map(async () => identityToRecipient(await generateX25519Identity())));
  const { ring } = createKeyWorld().server();
  await expect(ring.issue("ws_a", "art_1", "age1nonsense")).rejects.toMatchObject({ reason: "INVALID_REQUEST" });
  await ring.issue("ws_a", "art_1", one);
  await expect(ring.issue("ws_a", "art_1", two)).rejects.toMatchObject({ reason: "REQUEST_ID_REUSED" });
  await expect(ring.issue("ws_a", "art_1")).rejects.toMatchObject({ reason: "REQUEST_ID_REUSED" });
  await ring.issue("ws_a", "art_2");
  await expect(ring.seal("ws_a", "art_2")).rejects.toMatchObject({ reason: "INVALID_STATE" });
  await expect(ring.seal("ws_a", "art_3")).rejects.toMatchObject({ reason: "INVALID_STATE" });
});

test("opens nothing under another root key, and names the one that is needed", async () => {
  const world = createKeyWorld();
  await world.server().ring.issue("ws_a", "art_1");
  const stranger = world.server({ rootKeys: { current: createRootKey(randomBytes(32)), old: [] } });
  await expect(stranger.ring.open("ws_a", "art_1")).rejects.toMatchObject({
    reason: "STORE_UNAVAILABLE",
    metadata: { root_key_id: world.rootKey.id },
  });
});

test("reports a record whose bytes were changed or that is another artifact's, and never opens it", async () => {
  const world = createKeyWorld();
  const { ring } = world.server();
  await ring.issue("ws_a", "art_1");
  await ring.issue("ws_a", "art_2");
  const name = names.data("ws_a", "art_1");
  const own = await world.store.get(name);
  const others = await world.store.get(names.data("ws_a", "art_2"));
  const swapped = await world.store.update(name, others?.value ?? new Uint8Array(), own?.revision ?? 0);
  await expect(ring.open("ws_a", "art_1")).rejects.toMatchObject({ reason: "ARTIFACT_CORRUPT" });
  const record = dataFormat.decode(own?.value ?? new Uint8Array());
  for (let at = 0; at < (record.key?.length ?? 0); at++) {
    const key = Uint8Array.from(record.key ?? []);
    key[at] = (key[at] ?? 0) ^ 1;
    const store = createMemoryKeyStore();
    await store.create(name, dataFormat.encode({ ...record, key }));
    const workspace = await world.store.get(names.workspace("ws_a"));
    await store.create(names.workspace("ws_a"), workspace?.value ?? new Uint8Array());
    await expect(world.server({ store }).ring.open("ws_a", "art_1")).rejects.toMatchObject({
      reason: "ARTIFACT_CORRUPT",
    });
  }
  expect(swapped).toBeDefined();
});

test("stores no key in the clear", async () => {
  const world = createKeyWorld();
  const { key } = await world.server().ring.issue("ws_a", "art_1");
  for (const prefix of ["data", "workspace"]) {
    for await (const { value } of world.store.entries(prefix)) {
      const text = Buffer.from(value).toString();
      for (const form of [hex(key), Buffer.from(key).toString("base64"), Buffer.from(key).toString("base64url")]) {
        expect(text).not.toContain(form);
      }
      expect(Buffer.from(value).includes(Buffer.from(key))).toBe(false);
    }
  }
});

test("an orphan is destroyed only if nobody was issued it, or has sealed it, since it was listed", async () => {
  const world = createKeyWorld();
  let time = new Date("2026-11-21T08:00:00Z");
  const { ring } = world.server({ clock: { now: () => time } });
  const recipient = await identityToRecipient(await generateX25519Identity());
  await ring.issue("ws_a", "art_1");
  await ring.issue("ws_a", "art_2", recipient);
  await ring.seal("ws_a", "art_2");
  await ring.issue("ws_a", "art_3");
  const listed = await Array.fromAsync(ring.list());
  time = new Date("2026-11-22T10:00:00Z");
  const again = await ring.issue("ws_a", "art_1");
  await ring.seal("ws_a", "art_2");
  for (const { artifactId, createTime } of listed) await ring.destroy("ws_a", artifactId, createTime);
  expect(await openedKey(world.server(), "ws_a", "art_1")).toBe(hex(again.key));
  expect(await ring.open("ws_a", "art_2")).toMatchObject({ state: "sealed" });
  expect(await ring.open("ws_a", "art_3")).toEqual({ state: "destroyed" });
});
