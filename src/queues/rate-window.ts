/** How often something may begin in any stretch of time. */
export interface RateWindow {
  /** It has begun at this time, in milliseconds since the epoch. */
  begin(timeMs: number): void;
  /** How often more it may begin now. */
  room(nowMs: number): number;
  /** When there is more room, if nothing begins until then; undefined when nothing has begun. */
  nextMs(): number | undefined;
}

/** At most `limit` beginnings in any `periodMs`. Times come in order, or nearly so; then there is room a little too late. */
export function createRateWindow(limit: number, periodMs: number): RateWindow {
  let begun: number[] = [];
  let first = 0;

  function forget(nowMs: number): void {
    while ((begun[first] ?? Number.POSITIVE_INFINITY) <= nowMs - periodMs) first++;
    // Cuts in large pieces: shifting one by one would move the whole array each time.
    if (first < 1_024 || first < begun.length / 2) return;
    begun = begun.slice(first);
    first = 0;
  }

  return {
    begin: (timeMs) => void begun.push(timeMs),
    room(nowMs) {
      forget(nowMs);
      return limit - (begun.length - first);
    },
    nextMs() {
      const oldest = begun[first];
      return oldest === undefined ? undefined : oldest + periodMs;
    },
  };
}
