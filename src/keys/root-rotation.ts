import type { RotationOptions } from "./key-care.ts";
import { names, rootFormat, type WorkspaceRecord, workspaceFormat } from "./records.ts";
import { rootKeyOf, type RootKeys } from "./root-key.ts";
import { keyContention, type KeysDeps, workspaceKeyLabel } from "./workspace-keys.ts";

type RootDeps = Pick<KeysDeps, "store" | "rootKeys">;

const attempts = 16;

/** Wraps the keys of every workspace by the current root key, and names it in the store. Returns how many keys were not yet. */
export async function rotateRoot(
  { store, rootKeys }: RootDeps,
  { signal, onProgress }: RotationOptions = {},
): Promise<number> {
  let rewrapped = 0;
  for await (const found of store.entries(names.workspaces, signal)) {
    for (let entry = found; ;) {
      const record = workspaceFormat.decode(entry.value);
      const pending = record.keys.filter(({ rootId }) => rootId !== rootKeys.current.id).length;
      if (pending === 0) break;
      const value = workspaceFormat.encode(await rewrapRecord(rootKeys, entry.name.split(".")[1] ?? "", record));
      const done = await store.update(entry.name, value, entry.revision);
      if (done !== undefined) {
        rewrapped += pending;
        onProgress?.(rewrapped);
        break;
      }
      const newer = await store.get(entry.name);
      if (newer === undefined) break;
      entry = newer;
    }
  }
  await nameRoot({ store, rootKeys });
  return rewrapped;
}

/** The record with every key wrapped by the current root key. STORE_UNAVAILABLE when one is not there that wraps one of them. */
async function rewrapRecord(
  rootKeys: RootKeys,
  workspaceId: string,
  record: WorkspaceRecord,
): Promise<WorkspaceRecord> {
  const keys = record.keys.map(async (key) => {
    if (key.rootId === rootKeys.current.id) return key;
    const label = workspaceKeyLabel(workspaceId, key.keyId);
    const opened = await rootKeyOf(rootKeys, key.rootId).unwrap(key.wrapped, label);
    return { ...key, rootId: rootKeys.current.id, wrapped: await rootKeys.current.wrap(opened, label) };
  });
  return { ...record, keys: await Promise.all(keys) };
}

/** True when keys of the installation are, or were, wrapped by some root key. */
export async function hasNamedRoot(store: KeysDeps["store"]): Promise<boolean> {
  return (await store.get(names.root)) !== undefined;
}

/**
 * The root key that the installation uses, as its store says; the current one is named there when none is yet. So a server that was
 * given another one can say so before it wraps anything.
 */
export async function namedRoot({ store, rootKeys }: RootDeps): Promise<string> {
  const rootId = rootKeys.current.id;
  const entry =
    (await store.get(names.root)) ??
    (await store.create(names.root, rootFormat.encode({ rootId }))) ??
    (await store.get(names.root));
  return entry === undefined ? rootId : rootFormat.decode(entry.value).rootId;
}

/** Writes down that the current root key wraps everything. */
async function nameRoot({ store, rootKeys }: RootDeps): Promise<void> {
  const value = rootFormat.encode({ rootId: rootKeys.current.id });
  for (let attempt = 0; attempt < attempts; attempt++) {
    const entry = await store.get(names.root);
    const done = await (entry === undefined
      ? store.create(names.root, value)
      : store.update(names.root, value, entry.revision));
    if (done !== undefined) return;
  }
  throw keyContention("the installation");
}
