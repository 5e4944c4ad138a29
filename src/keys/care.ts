import type { KeyCare } from "./key-care.ts";
import { names, workspaceFormat } from "./records.ts";
import { rotateRoot } from "./root-rotation.ts";
import { createRotation } from "./rotation.ts";
import { keyContention, type KeysDeps, type WorkspaceKeys } from "./workspace-keys.ts";

const attempts = 16;

/** The care of the keys in a store. */
export function createKeyCare(deps: KeysDeps & { readonly workspaceKeys: WorkspaceKeys }): KeyCare {
  const { store, journal, workspaceKeys } = deps;
  return {
    ...createRotation(deps),
    rotateRoot: (options) => rotateRoot(deps, options),

    async *workspaces(signal) {
      for await (const { name, value } of store.entries(names.workspaces, signal)) {
        const { keys, retired, destroyed } = workspaceFormat.decode(value);
        const shown = keys.map(({ keyId, createTime, rootId }) => ({ keyId, createTime, rootId }));
        yield { workspaceId: name.split(".")[1] ?? "", keys: shown, retired, destroyed };
      }
    },

    async count(workspaceId, signal) {
      const found = new Set<string>();
      for await (const { name } of store.entries(names.workspaceData(workspaceId), signal)) found.add(name);
      return found.size;
    },

    async destroyWorkspace(workspaceId, { reason, by }) {
      for (let attempt = 0; attempt < attempts; attempt++) {
        const keys = await workspaceKeys.read(workspaceId);
        if (keys === undefined) return [];
        const keyIds = keys.record.keys.map(({ keyId }) => keyId);
        // On record first: what is gone was meant to go, whenever the power fails.
        if (keyIds.length > 0) await journal.destroyed(workspaceId, keyIds, { reason, by });
        // Also when there are none: an update overwrites what a crash has left of the version before.
        const record = { ...keys.record, keys: [], destroyed: [...keys.record.destroyed, ...keyIds] };
        const value = workspaceFormat.encode(record);
        if ((await store.update(names.workspace(workspaceId), value, keys.revision)) !== undefined) return keyIds;
      }
      throw keyContention(workspaceId);
    },
  };
}
