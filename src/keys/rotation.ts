import { rewrap } from "./data-keys.ts";
import type { KeyCare, RotationOptions } from "./key-care.ts";
import type { KeyEntry } from "./key-store.ts";
import { dataFormat, names, workspaceFormat } from "./records.ts";
import { keyContention, type KeysDeps, type WorkspaceKeys, type WorkspaceKeySet } from "./workspace-keys.ts";

const attempts = 16;

/**
 * Rotation of workspaces' keys: the new key is put in place, every record that an earlier one wraps is wrapped anew, and only then the
 * earlier ones are given up. Whoever stops in between leaves a workspace with several keys, which work.
 */
export function createRotation({
  store,
  workspaceKeys,
}: Pick<KeysDeps, "store"> & { readonly workspaceKeys: WorkspaceKeys }): Pick<KeyCare, "rotateWorkspace"> {
  /** The keys of the workspace with a new one in place; those of a rotation that is not finished as they are. */
  async function begin(workspaceId: string): Promise<{ keys: WorkspaceKeySet; resumed: boolean }> {
    for (let attempt = 0; attempt < attempts; attempt++) {
      const keys = await workspaceKeys.withCurrent(workspaceId);
      if (keys.record.keys.length > 1) return { keys, resumed: true };
      const record = { ...keys.record, keys: [...keys.record.keys, await workspaceKeys.generate(workspaceId)] };
      const value = workspaceFormat.encode(record);
      if ((await store.update(names.workspace(workspaceId), value, keys.revision)) === undefined) continue;
      return { keys: await workspaceKeys.withCurrent(workspaceId), resumed: false };
    }
    throw keyContention(workspaceId);
  }

  /** Wraps what one of the other keys wraps by the current one. Returns how many. */
  async function rewrapAll(keys: WorkspaceKeySet, options: RotationOptions, before: number): Promise<number> {
    let rewrapped = before;
    for await (const entry of store.entries(names.workspaceData(keys.workspaceId), options.signal)) {
      if (!(await rewrapEntry(keys, entry))) continue;
      rewrapped++;
      options.onProgress?.(rewrapped);
    }
    return rewrapped;
  }

  /** False when there was nothing to do, or the record has changed since: then it comes again. */
  async function rewrapEntry(keys: WorkspaceKeySet, { name, value, revision }: KeyEntry): Promise<boolean> {
    const { workspaceId, current } = keys;
    const record = dataFormat.decode(value);
    if (current === undefined || record.keyId === current.keyId) return false;
    const to = await keys.open(current.keyId);
    const from = await keys.open(record.keyId);
    // By a key that came later, which is for that rotation; or by one that is gone, which nobody was given.
    if (from === undefined || to === undefined) return false;
    const owner = { workspaceId, artifactId: name.split(".")[2] ?? "" };
    const next = rewrap(owner, record, { keyId: record.keyId, key: from }, { keyId: current.keyId, key: to });
    return (await store.update(name, dataFormat.encode(next), revision)) !== undefined;
  }

  return {
    async rotateWorkspace(workspaceId, options = {}) {
      const begun = await begin(workspaceId);
      let { keys } = begun;
      let rewrapped = 0;
      for (let attempt = 0; attempt < attempts; attempt++) {
        await workspaceKeys.announce(keys);
        const { current, record } = keys;
        if (current === undefined || record.keys.length === 1) {
          return { workspaceId, keyId: current?.keyId ?? "", rewrapped, resumed: begun.resumed };
        }
        rewrapped = await rewrapAll(keys, options, rewrapped);
        const given = record.keys.slice(0, -1).map(({ keyId }) => keyId);
        // Only on the very keys that every record was held against: somebody else's rotation makes us look again.
        const value = workspaceFormat.encode({ ...record, keys: [current], retired: [...record.retired, ...given] });
        await store.update(names.workspace(workspaceId), value, keys.revision);
        keys = (await workspaceKeys.read(workspaceId)) ?? keys;
      }
      throw keyContention(workspaceId);
    },
  };
}
