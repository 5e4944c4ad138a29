/** What decides whose turn it is. */
export interface Ranked {
  /** 9 goes before 0. */
  readonly priority: number;
  /** Of the same priority, the earlier one goes first. Milliseconds since the epoch. */
  readonly createTimeMs: number;
}

/** Those that wait for their turn. */
export interface Line<T extends Ranked> {
  /** Whose turn is next; undefined when nobody waits. */
  readonly head: T | undefined;
  readonly size: number;
  /** Behind all that go before it, and behind its equals. */
  add(item: T): void;
  /** Leaves the line; false when it does not stand there. */
  remove(item: T): boolean;
}

/** Less than 0 when `a` goes before `b`. */
export function compareRank(a: Ranked, b: Ranked): number {
  return b.priority - a.priority || a.createTimeMs - b.createTimeMs;
}

/** A line of nobody. */
export function createLine<T extends Ranked>(): Line<T> {
  const items: T[] = [];

  /** The first place whose item goes behind `item`, or does not go before it when `orEqual`. */
  function placeOf(item: T, orEqual: boolean): number {
    let [low, high] = [0, items.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = items[middle];
      const order = other === undefined ? 0 : compareRank(other, item);
      if (order < 0 || (order === 0 && !orEqual)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  return {
    get head() {
      return items[0];
    },
    get size() {
      return items.length;
    },
    add(item) {
      items.splice(placeOf(item, false), 0, item);
    },
    remove(item) {
      const place = items.indexOf(item, placeOf(item, true));
      if (place === -1) return false;
      items.splice(place, 1);
      return true;
    },
  };
}
