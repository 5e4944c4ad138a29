import type { SessionEntry, SessionStore } from "./session-store.ts";

/** Uploads under way in memory, forgotten with the process: for fast tests and the test harness. */
export function createMemorySessionStore(): SessionStore {
  const entries = new Map<string, SessionEntry>();
  let revisions = 0;
  return {
    async create(key, value) {
      if (entries.has(key)) return false;
      entries.set(key, { value: Uint8Array.from(value), revision: ++revisions });
      return true;
    },
    async replace(key, value, revision) {
      if (entries.get(key)?.revision !== revision) return false;
      entries.set(key, { value: Uint8Array.from(value), revision: ++revisions });
      return true;
    },
    get: async (key) => entries.get(key),
    keys: async (prefix) => [...entries.keys()].filter((key) => key.startsWith(`${prefix}.`)),
    async remove(key, revision) {
      if (revision === undefined || entries.get(key)?.revision === revision) entries.delete(key);
    },
  };
}
