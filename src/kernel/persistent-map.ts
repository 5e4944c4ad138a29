/** Changes that are kept beside a large map before a new large one is made. */
const maxRecent = 128;

/**
 * A map that never changes: setting an entry gives another map, which shares nearly everything with this one.
 * Folding a run with 10,000 steps, two events each, takes 7 s with a plain copy for each event, and 0.6 s with this.
 */
export class PersistentMap<V extends {}> {
  readonly #base: ReadonlyMap<string, V>;
  /** The entries that were set since `#base` was made. */
  readonly #recent: ReadonlyMap<string, V>;
  /** How many entries there are. */
  readonly size: number;

  /** The map with the entries of another one; empty without. */
  constructor(base: ReadonlyMap<string, V> = new Map(), recent: ReadonlyMap<string, V> = new Map(), size = base.size) {
    this.#base = base;
    this.#recent = recent;
    this.size = size;
  }

  /** The value of a key; undefined when there is none. */
  get(key: string): V | undefined {
    return this.#recent.get(key) ?? this.#base.get(key);
  }

  /** True when the key has a value. */
  has(key: string): boolean {
    return this.#recent.has(key) || this.#base.has(key);
  }

  /** Every value, in the order in which their keys were set first. */
  *values(): Generator<V, undefined> {
    for (const [key, value] of this.#base) yield this.#recent.get(key) ?? value;
    for (const [key, value] of this.#recent) if (!this.#base.has(key)) yield value;
  }

  /** The map with one more or another value. */
  with(key: string, value: V): PersistentMap<V> {
    const size = this.has(key) ? this.size : this.size + 1;
    const recent = new Map(this.#recent).set(key, value);
    if (recent.size <= maxRecent) return new PersistentMap(this.#base, recent, size);
    const base = new Map(this.#base);
    for (const [each, newest] of recent) base.set(each, newest);
    return new PersistentMap(base);
  }
}
