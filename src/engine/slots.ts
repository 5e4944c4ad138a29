/** A number of places, each taken by one at a time. */
export interface Slots {
  /** True once a place is taken; false when the signal aborts first. Served in order of asking. */
  take(signal: AbortSignal): Promise<boolean>;
  /** Gives one place back. */
  free(): void;
}

/** Creates `count` free places. */
export function createSlots(count: number): Slots {
  let left = count;
  const waiters: ((taken: boolean) => void)[] = [];
  return {
    take(signal) {
      if (signal.aborted) return Promise.resolve(false);
      if (left > 0) {
        left--;
        return Promise.resolve(true);
      }
      return new Promise((resolve) => {
        function settle(taken: boolean): void {
          signal.removeEventListener("abort", giveUp);
          resolve(taken);
        }
        function giveUp(): void {
          waiters.splice(waiters.indexOf(settle), 1);
          settle(false);
        }
        signal.addEventListener("abort", giveUp);
        waiters.push(settle);
      });
    },
    free() {
      const next = waiters.shift();
      if (next === undefined) left++;
      else next(true);
    },
  };
}
