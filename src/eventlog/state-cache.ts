/** A cache that forgets what was used longest ago when it grows beyond its size. */
export interface StateCache<T> {
  get(key: string): T | undefined;
  set(key: string, value: T): void;
  /** Forgets everything. */
  clear(): void;
}

/** Every entry costs this much beside its own size, in bytes. */
const entryOverheadBytes = 512;

/** A cache of at most `maxBytes`, counting each entry's `sizeBytes`. */
export function createStateCache<T extends { readonly sizeBytes: number }>(maxBytes: number): StateCache<T> {
  // A Map iterates in order of insertion: the first entry is the one used longest ago.
  const entries = new Map<string, T>();
  let totalBytes = 0;
  const cost = (value: T) => value.sizeBytes + entryOverheadBytes;

  function remove(key: string): T | undefined {
    const value = entries.get(key);
    if (value !== undefined) {
      entries.delete(key);
      totalBytes -= cost(value);
    }
    return value;
  }

  return {
    get(key) {
      const value = remove(key);
      if (value !== undefined) {
        entries.set(key, value);
        totalBytes += cost(value);
      }
      return value;
    },
    set(key, value) {
      remove(key);
      entries.set(key, value);
      totalBytes += cost(value);
      for (const oldest of entries.keys()) {
        if (totalBytes <= maxBytes) return;
        remove(oldest);
      }
    },
    clear() {
      entries.clear();
      totalBytes = 0;
    },
  };
}
