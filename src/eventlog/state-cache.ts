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
  // Kept from one eviction to the next: a Map remembers the holes of what was deleted, and one that starts at the front
  // walks over all of them (65,000 entries: 30 µs each time).
  let oldest = entries.keys();
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
      // Else everything would make room for it, in vain.
      if (cost(value) > maxBytes) return;
      entries.set(key, value);
      totalBytes += cost(value);
      while (totalBytes > maxBytes) {
        const { value: first, done } = oldest.next();
        // At the end an iterator stays there; what comes in later needs another one.
        if (done) oldest = entries.keys();
        else remove(first);
      }
    },
    clear() {
      entries.clear();
      oldest = entries.keys();
      totalBytes = 0;
    },
  };
}
