/** Resolves after `ms` milliseconds, or as soon as the signal aborts. Never rejects; callers look at the signal. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done, { once: true });
  });
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** A bell: those who wait are woken when it rings. A ring that nobody waits for is remembered once. */
export interface Bell {
  /** Wakes everyone who waits; if nobody does, the next wait returns at once. */
  ring(): void;
  /** Resolves at the next ring, after `ms` when given, or when the signal aborts. */
  wait(signal?: AbortSignal, ms?: number): Promise<void>;
}

/** A bell that nobody has rung yet. */
export function createBell(): Bell {
  let rung = false;
  let waiters: (() => void)[] = [];
  return {
    ring() {
      if (waiters.length === 0) rung = true;
      const woken = waiters;
      waiters = [];
      for (const wake of woken) wake();
    },
    wait(signal, ms) {
      if (rung) {
        rung = false;
        return Promise.resolve();
      }
      return new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const timer = ms === undefined ? undefined : setTimeout(wake, ms);
        function wake() {
          clearTimeout(timer);
          signal?.removeEventListener("abort", wake);
          waiters = waiters.filter((waiter) => waiter !== wake);
          resolve();
        }
        signal?.addEventListener("abort", wake, { once: true });
        waiters.push(wake);
      });
    },
  };
}
