import type { Clock } from "../kernel/clock.ts";

/** A clock that stands still until it is moved. */
export interface TestClock extends Clock {
  /** Moves it forward to `time`; a time that has passed moves nothing. */
  advanceTo(time: Date): void;
  /** Calls `moved` after each move from now on. */
  onMove(moved: () => void): void;
}

/** A clock that stands at `start`. */
export function createTestClock(start: Date): TestClock {
  let nowMs = start.getTime();
  const listeners: (() => void)[] = [];
  return {
    now: () => new Date(nowMs),
    advanceTo(time) {
      if (time.getTime() <= nowMs) return;
      nowMs = time.getTime();
      for (const moved of listeners) moved();
    },
    onMove: (moved) => void listeners.push(moved),
  };
}
