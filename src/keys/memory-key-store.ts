import type { KeyEntry, KeyStore } from "./key-store.ts";

/** A store of keys in this process, for tests and for Signalbox in memory. */
export function createMemoryKeyStore(): KeyStore {
  const records = new Map<string, KeyEntry>();
  let revisions = 0;

  function put(name: string, value: Uint8Array): KeyEntry {
    const entry = { name, value: Uint8Array.from(value), revision: ++revisions };
    records.set(name, entry);
    return entry;
  }

  return {
    get: async (name) => records.get(name),
    create: async (name, value) => (records.has(name) ? undefined : put(name, value)),
    update: async (name, value, revision) => (records.get(name)?.revision === revision ? put(name, value) : undefined),
    async remove(name, revision) {
      if (revision === undefined || records.get(name)?.revision === revision) records.delete(name);
    },
    async *entries(prefix, signal) {
      for (let after = 0; ;) {
        signal?.throwIfAborted();
        const next = [...records.values()]
          .filter(({ name, revision }) => name.startsWith(`${prefix}.`) && revision > after)
          .toSorted((a, b) => a.revision - b.revision)[0];
        if (next === undefined) return;
        yield next;
        after = next.revision;
      }
    },
  };
}
