import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import type { Keys } from "../../src/keys/keys.ts";
import { dataFormat, names, workspaceFormat } from "../../src/keys/records.ts";
import { createRootKey } from "../../src/keys/root-key.ts";
import { namedRoot } from "../../src/keys/root-rotation.ts";
import { createKeyWorld, hex, type KeyWorld, openedKey, order } from "./world.ts";

const artifacts = ["art_1", "art_2", "art_3", "art_4"];

/** Keys of a few artifacts of ws_a, as text. */
async function issueSome({ ring }: Keys): Promise<Map<string, string>> {
  const issued = new Map<string, string>();
  for (const artifactId of artifacts) issued.set(artifactId, hex((await ring.issue("ws_a", artifactId)).key));
  return issued;
}

async function workspaceOf({ store }: KeyWorld, workspaceId = "ws_a") {
  return workspaceFormat.decode((await store.get(names.workspace(workspaceId)))?.value ?? new Uint8Array());
}

async function wrappedBy({ store }: KeyWorld): Promise<Set<string>> {
  const keyIds = new Set<string>();
  for await (const { value } of store.entries(names.workspaceData("ws_a"))) keyIds.add(dataFormat.decode(value).keyId);
  return keyIds;
}

test("a new key wraps the keys of all artifacts, which stay what they are, and the old one is given up", async () => {
  const world = createKeyWorld();
  const server = world.server();
  const issued = await issueSome(server);
  const [old] = (await workspaceOf(world)).keys;
  const progress: number[] = [];
  const rotation = await world.server().care.rotateWorkspace("ws_a", { onProgress: (count) => progress.push(count) });
  expect(rotation).toMatchObject({ workspaceId: "ws_a", rewrapped: 4, resumed: false });
  expect(progress).toEqual([1, 2, 3, 4]);
  expect(await wrappedBy(world)).toEqual(new Set([rotation.keyId]));
  expect(await workspaceOf(world)).toMatchObject({ keys: [{ keyId: rotation.keyId }], retired: [old?.keyId] });
  for (const [artifactId, key] of issued) expect(await openedKey(server, "ws_a", artifactId)).toBe(key);
  expect((await server.ring.issue("ws_a", "art_new")).keyId).toBe(rotation.keyId);
  expect(world.journal.lines).toEqual([`ws_a rotated ${old?.keyId}`, `ws_a rotated ${rotation.keyId}`]);
});

test("a rotation that was stopped goes on with the same key", async () => {
  const world = createKeyWorld();
  const issued = await issueSome(world.server());
  const stop = new AbortController();
  const onProgress = (count: number) => void (count === 2 && stop.abort(new Error("enough")));
  const stopped = world.server().care.rotateWorkspace("ws_a", { signal: stop.signal, onProgress });
  await expect(stopped).rejects.toThrow("enough");
  const { keys } = await workspaceOf(world);
  expect(keys).toHaveLength(2);
  expect((await wrappedBy(world)).size).toBe(2);
  for (const [artifactId, key] of issued) expect(await openedKey(world.server(), "ws_a", artifactId)).toBe(key);
  const rotation = await world.server().care.rotateWorkspace("ws_a");
  expect(rotation).toEqual({ workspaceId: "ws_a", keyId: keys[1]?.keyId, rewrapped: 2, resumed: true });
  for (const [artifactId, key] of issued) expect(await openedKey(world.server(), "ws_a", artifactId)).toBe(key);
});

test("two rotations at the same time leave every key to be opened", async () => {
  const world = createKeyWorld();
  const issued = await issueSome(world.server());
  await Promise.all([1, 2, 3].map(async () => world.server().care.rotateWorkspace("ws_a")));
  expect((await workspaceOf(world)).keys).toHaveLength(1);
  for (const [artifactId, key] of issued) expect(await openedKey(world.server(), "ws_a", artifactId)).toBe(key);
});

test("a new root key wraps the keys of all workspaces, while servers that have both open them", async () => {
  const world = createKeyWorld();
  const issued = await issueSome(world.server());
  await world.server().ring.issue("ws_b", "art_1");
  const next = createRootKey(randomBytes(32));
  const both = { current: next, old: [world.rootKey] };
  const server = world.server({ rootKeys: both });
  expect(await namedRoot({ store: world.store, rootKeys: { current: world.rootKey, old: [] } })).toBe(world.rootKey.id);
  for (const [artifactId, key] of issued) expect(await openedKey(server, "ws_a", artifactId)).toBe(key);
  const progress: number[] = [];
  const onProgress = (count: number) => void progress.push(count);
  expect(await world.server({ rootKeys: both }).care.rotateRoot({ onProgress })).toBe(2);
  expect(progress).toEqual([1, 2]);
  expect(await world.server({ rootKeys: both }).care.rotateRoot()).toBe(0);
  expect(await namedRoot({ store: world.store, rootKeys: both })).toBe(next.id);
  const after = world.server({ rootKeys: { current: next, old: [] } });
  for (const [artifactId, key] of issued) expect(await openedKey(after, "ws_a", artifactId)).toBe(key);
  await expect(world.server().ring.open("ws_a", "art_1")).rejects.toMatchObject({ reason: "STORE_UNAVAILABLE" });
});

test("destroying a workspace's keys takes every artifact of it along, and none of another", async () => {
  const world = createKeyWorld();
  const server = world.server();
  await issueSome(server);
  const other = await server.ring.issue("ws_b", "art_1");
  await server.care.rotateWorkspace("ws_a");
  const keyIds = await world.server().care.destroyWorkspace("ws_a", order);
  expect(keyIds).toHaveLength(1);
  expect(await world.server().care.destroyWorkspace("ws_a", order)).toEqual([]);
  expect(await world.server().care.destroyWorkspace("ws_never", order)).toEqual([]);
  for (const artifactId of artifacts)
    expect(await server.ring.open("ws_a", artifactId)).toEqual({ state: "destroyed" });
  expect(await openedKey(server, "ws_b", "art_1")).toBe(hex(other.key));
  expect(world.journal.lines.at(-1)).toBe(`ws_a destroyed ${keyIds[0]}: the tenant has left`);
});

test("destroying keys in the middle of a rotation destroys all of them", async () => {
  const world = createKeyWorld();
  await issueSome(world.server());
  const stop = new AbortController();
  const onProgress = () => stop.abort(new Error("enough"));
  await expect(world.server().care.rotateWorkspace("ws_a", { signal: stop.signal, onProgress })).rejects.toThrow(
    "enough",
  );
  expect(await world.server().care.destroyWorkspace("ws_a", order)).toHaveLength(2);
  for (const artifactId of artifacts) {
    expect(await world.server().ring.open("ws_a", artifactId)).toEqual({ state: "destroyed" });
  }
});

test("what a workspace stores after its keys were destroyed has a new one, which can be destroyed as well", async () => {
  const world = createKeyWorld();
  const server = world.server();
  await issueSome(server);
  const [first] = await server.care.destroyWorkspace("ws_a", order);
  const issued = await server.ring.issue("ws_a", "art_new");
  expect(issued.keyId).not.toBe(first);
  expect(await openedKey(server, "ws_a", "art_new")).toBe(hex(issued.key));
  expect(await server.ring.open("ws_a", "art_1")).toEqual({ state: "destroyed" });
  expect(await server.care.destroyWorkspace("ws_a", order)).toEqual([issued.keyId]);
  expect((await workspaceOf(world)).destroyed).toEqual([first, issued.keyId]);
});

test("shows what there is", async () => {
  const world = createKeyWorld();
  const { care, ring } = world.server();
  await issueSome({ care, ring });
  await ring.issue("ws_b", "art_1");
  const workspaces = await Array.fromAsync(care.workspaces());
  expect(workspaces.map(({ workspaceId }) => workspaceId)).toEqual(["ws_a", "ws_b"]);
  expect(workspaces[0]).toMatchObject({ keys: [{ rootId: world.rootKey.id }], retired: [], destroyed: [] });
  expect(await care.count("ws_a")).toBe(4);
  expect(await care.count("ws_c")).toBe(0);
});
