/** What was found, with its score. */
export interface Scored<T> {
  readonly score: number;
  readonly item: T;
}

/** The best of what has been offered. */
export interface Ranking<T> {
  /** Takes something if it is among the best; of equals, what was offered first is better. `make` is called only then. */
  offer(score: number, make: () => T): void;
  /** The best first. */
  readonly best: readonly Scored<T>[];
}

/** An empty ranking of up to `limit` items that score at least `minScore`. */
export function createRanking<T>(limit: number, minScore: number): Ranking<T> {
  const best: Scored<T>[] = [];
  return {
    best,
    offer(score, make) {
      const worst = best.at(-1);
      if (score < minScore || (best.length === limit && worst !== undefined && score <= worst.score)) return;
      const place = best.findIndex((other) => other.score < score);
      best.splice(place === -1 ? best.length : place, 0, { score, item: make() });
      if (best.length > limit) best.pop();
    },
  };
}
